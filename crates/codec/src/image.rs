use crate::{CodecError, Result};

/// Largest width and height that encoders take and decoders return, in pixels.
pub(crate) const MAX_SIDE: u32 = 4096;

/// One borrowed 4:2:0 picture: a full-size luma plane and two chroma planes of half the size, rounded up.
///
/// Only [`I420Ref::new`] makes one, so the planes of every value are long enough for its size and strides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct I420Ref<'a> {
    width: u32,
    height: u32,
    planes: [&'a [u8]; 3],
    strides: [usize; 3],
}

impl<'a> I420Ref<'a> {
    /// Borrow a picture.
    ///
    /// `planes` are Y, U and V; `strides` are the bytes from one row to the next in each.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] when a side is 0 or over 4096, a stride is shorter than a row, or a plane is too short.
    pub fn new(width: u32, height: u32, planes: [&'a [u8]; 3], strides: [usize; 3]) -> Result<Self> {
        check_size(width, height)?;
        let image = Self { width, height, planes, strides };
        for (index, name) in ["Y", "U", "V"].into_iter().enumerate() {
            let (row, rows) = image.plane_size(index);
            let (have, stride) = (image.plane(index).len(), image.stride(index));
            let need = stride.checked_mul(rows - 1).and_then(|n| n.checked_add(row));
            if stride < row || stride > i32::MAX as usize || need.is_none_or(|need| have < need) {
                return Err(CodecError::invalid(format!(
                    "the {name} plane of a {width}x{height} picture needs a stride of at least {row} and {rows} rows; \
                     got a stride of {stride} and {have} bytes"
                )));
            }
        }
        Ok(image)
    }

    /// Borrow a picture whose planes follow each other in one buffer without padding.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] when a side is 0 or over 4096 or the buffer is too short.
    pub fn from_packed(width: u32, height: u32, data: &'a [u8]) -> Result<Self> {
        check_size(width, height)?;
        let (luma, chroma_row, chroma) = packed_sizes(width, height);
        let need = luma + 2 * chroma;
        if data.len() < need {
            return Err(CodecError::invalid(format!(
                "a packed {width}x{height} I420 picture has {need} bytes; got {}",
                data.len()
            )));
        }
        let (y, rest) = data.split_at(luma);
        let (u, v) = rest.split_at(chroma);
        Self::new(width, height, [y, u, v], [width as usize, chroma_row, chroma_row])
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes of plane 0 (Y), 1 (U) or 2 (V); empty for any other index.
    pub fn plane(&self, index: usize) -> &'a [u8] {
        self.planes.get(index).copied().unwrap_or_default()
    }

    /// Bytes from one row of a plane to the next.
    pub fn stride(&self, index: usize) -> usize {
        self.strides.get(index).copied().unwrap_or_default()
    }

    /// Bytes in a row of a plane that belong to the picture, and its number of rows.
    pub fn plane_size(&self, index: usize) -> (usize, usize) {
        match index {
            0 => (self.width as usize, self.height as usize),
            _ => (self.width.div_ceil(2) as usize, self.height.div_ceil(2) as usize),
        }
    }

    /// The picture rows of a plane, without padding.
    pub fn rows(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (row, rows) = self.plane_size(index);
        self.plane(index).chunks(self.stride(index).max(1)).take(rows).map(move |line| line.get(..row).unwrap_or(line))
    }

    /// Number of bytes that [`I420Ref::copy_into`] writes.
    pub fn packed_len(&self) -> usize {
        let (luma, _, chroma) = packed_sizes(self.width, self.height);
        luma + 2 * chroma
    }

    /// Replace `out` with the three planes, one after the other, without padding.
    pub fn copy_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.packed_len());
        for index in 0..3 {
            let (row, rows) = self.plane_size(index);
            match self.plane(index).get(..row * rows) {
                Some(whole) if self.stride(index) == row => out.extend_from_slice(whole),
                _ => self.rows(index).for_each(|line| out.extend_from_slice(line)),
            }
        }
    }
}

fn packed_sizes(width: u32, height: u32) -> (usize, usize, usize) {
    let chroma_row = width.div_ceil(2) as usize;
    (width as usize * height as usize, chroma_row, chroma_row * height.div_ceil(2) as usize)
}

pub(crate) fn check_size(width: u32, height: u32) -> Result<()> {
    if (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height) {
        return Ok(());
    }
    Err(CodecError::invalid(format!("a picture has 1 to {MAX_SIDE} pixels on each side; got {width}x{height}")))
}
