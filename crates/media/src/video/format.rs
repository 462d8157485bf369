use std::fmt;

use super::error::VideoError;

/// The largest width and height, in pixels.
pub const MAX_DIMENSION: u32 = 16_384;

/// How a picture lies in memory. The numbers are LiveKit's `VideoBufferType`.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoFormat {
    /// R, G, B, A bytes per pixel.
    Rgba = 0,
    /// A, B, G, R bytes per pixel.
    Abgr = 1,
    /// A, R, G, B bytes per pixel.
    Argb = 2,
    /// B, G, R, A bytes per pixel.
    Bgra = 3,
    /// R, G, B bytes per pixel.
    Rgb24 = 4,
    /// Planes Y, U, V; chroma halved both ways.
    I420 = 5,
    /// Planes Y, U, V, A; chroma halved both ways.
    I420A = 6,
    /// Planes Y, U, V; chroma halved horizontally.
    I422 = 7,
    /// Planes Y, U, V of full size.
    I444 = 8,
    /// Planes Y, U, V of 16-bit little-endian samples, 10 bits used; chroma halved both ways.
    I010 = 9,
    /// Plane Y and plane of U, V pairs; chroma halved both ways.
    Nv12 = 10,
}

/// One plane of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneShape {
    /// Bytes of one row that carry pixels.
    pub row: usize,
    /// Number of rows.
    pub rows: usize,
}

impl PlaneShape {
    /// Bytes of the tightly packed plane.
    pub fn len(self) -> usize {
        self.row * self.rows
    }

    /// Never: a picture has at least one pixel.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Where R, G, B and A are within a packed pixel, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PixelOrder {
    pub(crate) r: usize,
    pub(crate) g: usize,
    pub(crate) b: usize,
    /// `None` for three-byte pixels.
    pub(crate) a: Option<usize>,
}

impl PixelOrder {
    pub(crate) fn size(self) -> usize {
        if self.a.is_some() { 4 } else { 3 }
    }
}

/// How the chroma of a planar format is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChromaLayout {
    /// log2 of the horizontal subsampling.
    pub(crate) x_shift: u32,
    /// log2 of the vertical subsampling.
    pub(crate) y_shift: u32,
    /// U and V alternate in one plane.
    pub(crate) interleaved: bool,
    /// Samples are 16-bit with 10 bits used.
    pub(crate) deep: bool,
}

impl VideoFormat {
    /// All formats, by number.
    pub const ALL: [VideoFormat; 11] = [
        Self::Rgba,
        Self::Abgr,
        Self::Argb,
        Self::Bgra,
        Self::Rgb24,
        Self::I420,
        Self::I420A,
        Self::I422,
        Self::I444,
        Self::I010,
        Self::Nv12,
    ];

    /// The name in LiveKit's `VideoBufferType`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rgba => "RGBA",
            Self::Abgr => "ABGR",
            Self::Argb => "ARGB",
            Self::Bgra => "BGRA",
            Self::Rgb24 => "RGB24",
            Self::I420 => "I420",
            Self::I420A => "I420A",
            Self::I422 => "I422",
            Self::I444 => "I444",
            Self::I010 => "I010",
            Self::Nv12 => "NV12",
        }
    }

    /// How many planes it has: 1 for packed RGB.
    pub const fn plane_count(self) -> usize {
        match self {
            Self::Rgba | Self::Abgr | Self::Argb | Self::Bgra | Self::Rgb24 => 1,
            Self::Nv12 => 2,
            Self::I420 | Self::I422 | Self::I444 | Self::I010 => 3,
            Self::I420A => 4,
        }
    }

    /// Whether it carries alpha.
    pub const fn has_alpha(self) -> bool {
        matches!(self, Self::Rgba | Self::Abgr | Self::Argb | Self::Bgra | Self::I420A)
    }

    /// Shapes of the planes in the order they lie in memory; unused ones are empty.
    ///
    /// # Errors
    /// [`VideoError::Size`]
    pub fn plane_shapes(self, width: u32, height: u32) -> Result<[PlaneShape; 4], VideoError> {
        if width == 0 || height == 0 || width > MAX_DIMENSION || height > MAX_DIMENSION {
            return Err(VideoError::Size { width, height });
        }
        let (w, h) = (width as usize, height as usize);
        let mut shapes = [PlaneShape { row: 0, rows: 0 }; 4];
        let Some(chroma) = self.chroma() else {
            let size = self.pixel_order().map_or(0, PixelOrder::size);
            shapes[0] = PlaneShape { row: w * size, rows: h };
            return Ok(shapes);
        };
        let bytes = if chroma.deep { 2 } else { 1 };
        let full = PlaneShape { row: w * bytes, rows: h };
        let columns = w.div_ceil(1 << chroma.x_shift);
        let rows = h.div_ceil(1 << chroma.y_shift);
        shapes[0] = full;
        if chroma.interleaved {
            shapes[1] = PlaneShape { row: columns * 2, rows };
        } else {
            shapes[1] = PlaneShape { row: columns * bytes, rows };
            shapes[2] = shapes[1];
        }
        if self == Self::I420A {
            shapes[3] = full;
        }
        Ok(shapes)
    }

    /// Byte positions within a packed pixel; `None` for planar formats.
    pub(crate) const fn pixel_order(self) -> Option<PixelOrder> {
        let (r, g, b, a) = match self {
            Self::Rgba => (0, 1, 2, Some(3)),
            Self::Abgr => (3, 2, 1, Some(0)),
            Self::Argb => (1, 2, 3, Some(0)),
            Self::Bgra => (2, 1, 0, Some(3)),
            Self::Rgb24 => (0, 1, 2, None),
            _ => return None,
        };
        Some(PixelOrder { r, g, b, a })
    }

    /// How chroma is stored; `None` for packed RGB.
    pub(crate) const fn chroma(self) -> Option<ChromaLayout> {
        let (x_shift, y_shift) = match self {
            Self::I420 | Self::I420A | Self::I010 | Self::Nv12 => (1, 1),
            Self::I422 => (1, 0),
            Self::I444 => (0, 0),
            _ => return None,
        };
        Some(ChromaLayout {
            x_shift,
            y_shift,
            interleaved: matches!(self, Self::Nv12),
            deep: matches!(self, Self::I010),
        })
    }
}

impl TryFrom<i64> for VideoFormat {
    type Error = VideoError;

    fn try_from(number: i64) -> Result<Self, VideoError> {
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::ALL.get(index).copied())
            .ok_or(VideoError::UnknownFormat(number))
    }
}

impl fmt::Display for VideoFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Bytes of a tightly packed picture.
///
/// # Errors
/// [`VideoError::Size`]
pub fn packed_len(format: VideoFormat, width: u32, height: u32) -> Result<usize, VideoError> {
    Ok(format.plane_shapes(width, height)?.iter().map(|shape| shape.len()).sum())
}
