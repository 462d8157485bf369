use super::error::VideoError;
use super::format::{PlaneShape, VideoFormat};

/// A borrowed plane: rows of pixels, `stride` bytes apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plane<'a> {
    /// From the first byte of the first row to at least the last pixel of the last row.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// A plane that can be written.
#[derive(Debug, Default)]
pub struct PlaneMut<'a> {
    /// From the first byte of the first row to at least the last pixel of the last row.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// A picture to read.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    format: VideoFormat,
    width: u32,
    height: u32,
    shapes: [PlaneShape; 4],
    planes: [Plane<'a>; 4],
}

/// A picture to write.
#[derive(Debug)]
pub struct PictureMut<'a> {
    format: VideoFormat,
    width: u32,
    height: u32,
    shapes: [PlaneShape; 4],
    planes: [PlaneMut<'a>; 4],
}

impl<'a> Picture<'a> {
    /// A picture whose rows and planes follow one another without gaps, as in a `VideoFrame`.
    ///
    /// # Errors
    /// [`VideoError::Size`]; [`VideoError::Length`] when `data` is shorter *or longer* than the picture.
    pub fn packed(format: VideoFormat, width: u32, height: u32, data: &'a [u8]) -> Result<Self, VideoError> {
        let shapes = format.plane_shapes(width, height)?;
        check_length(format, width, height, &shapes, data.len())?;
        let mut rest = data;
        let planes = shapes.map(|shape| {
            let (data, tail) = rest.split_at(shape.len());
            rest = tail;
            Plane { data, stride: shape.row }
        });
        Ok(Self { format, width, height, shapes, planes })
    }

    /// A picture from its planes.
    ///
    /// # Errors
    /// [`VideoError::Size`], [`VideoError::PlaneCount`], [`VideoError::Stride`], [`VideoError::PlaneLength`]
    pub fn new(format: VideoFormat, width: u32, height: u32, planes: &[Plane<'a>]) -> Result<Self, VideoError> {
        let shapes = format.plane_shapes(width, height)?;
        check_planes(format, &shapes, planes.iter().map(|plane| (plane.data.len(), plane.stride)))?;
        let mut all = [Plane::default(); 4];
        all[..planes.len()].copy_from_slice(planes);
        Ok(Self { format, width, height, shapes, planes: all })
    }

    /// The encoding.
    pub fn format(&self) -> VideoFormat {
        self.format
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Shapes of the planes; unused ones are empty.
    pub fn shapes(&self) -> &[PlaneShape; 4] {
        &self.shapes
    }

    /// The planes; unused ones are empty.
    pub fn planes(&self) -> &[Plane<'a>] {
        &self.planes[..self.format.plane_count()]
    }

    /// Row `y` of a plane.
    ///
    /// # Panics
    /// When the plane has no such row.
    pub fn row(&self, plane: usize, y: usize) -> &'a [u8] {
        let Plane { data, stride } = self.planes[plane];
        let row = &data[y * stride..];
        &row[..self.shapes[plane].row]
    }

    /// A view of a rectangle. Its corner is moved up and left to the next whole chroma sample.
    ///
    /// # Errors
    /// [`VideoError::Size`] for an empty one, [`VideoError::Rectangle`] when it does not lie within the picture.
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Result<Self, VideoError> {
        let shapes = self.format.plane_shapes(width, height)?;
        let inside = |at: u32, extent: u32, whole: u32| at.checked_add(extent).is_some_and(|end| end <= whole);
        if !inside(x, width, self.width) || !inside(y, height, self.height) {
            let (picture_width, picture_height) = (self.width, self.height);
            return Err(VideoError::Rectangle { x, y, width, height, picture_width, picture_height });
        }
        let mut planes = self.planes;
        match self.format.chroma() {
            None => {
                let size = self.format.pixel_order().map_or(0, |order| order.size());
                planes[0] = self.plane_at(0, x as usize * size, y as usize);
            }
            Some(chroma) => {
                let bytes = if chroma.deep { 2 } else { 1 };
                let (column, row) = ((x >> chroma.x_shift) as usize, (y >> chroma.y_shift) as usize);
                let (x, y) = (column << chroma.x_shift, row << chroma.y_shift);
                let column = column * if chroma.interleaved { 2 } else { bytes };
                planes[0] = self.plane_at(0, x * bytes, y);
                planes[1] = self.plane_at(1, column, row);
                planes[2] = self.plane_at(2, column, row);
                planes[3] = self.plane_at(3, x, y);
            }
        }
        Ok(Self { format: self.format, width, height, shapes, planes })
    }

    fn plane_at(&self, plane: usize, column: usize, row: usize) -> Plane<'a> {
        if self.shapes[plane].is_empty() {
            return Plane::default();
        }
        let Plane { data, stride } = self.planes[plane];
        Plane { data: &data[row * stride + column..], stride }
    }
}

impl<'a> PictureMut<'a> {
    /// A picture whose rows and planes follow one another without gaps.
    ///
    /// # Errors
    /// [`VideoError::Size`]; [`VideoError::Length`] when `data` is shorter *or longer* than the picture.
    pub fn packed(format: VideoFormat, width: u32, height: u32, data: &'a mut [u8]) -> Result<Self, VideoError> {
        let shapes = format.plane_shapes(width, height)?;
        check_length(format, width, height, &shapes, data.len())?;
        let mut rest = data;
        let planes = shapes.map(|shape| {
            let (data, tail) = std::mem::take(&mut rest).split_at_mut(shape.len());
            rest = tail;
            PlaneMut { data, stride: shape.row }
        });
        Ok(Self { format, width, height, shapes, planes })
    }

    /// A picture from its planes.
    ///
    /// # Errors
    /// [`VideoError::Size`], [`VideoError::PlaneCount`], [`VideoError::Stride`], [`VideoError::PlaneLength`]
    pub fn new(format: VideoFormat, width: u32, height: u32, planes: Vec<PlaneMut<'a>>) -> Result<Self, VideoError> {
        let shapes = format.plane_shapes(width, height)?;
        check_planes(format, &shapes, planes.iter().map(|plane| (plane.data.len(), plane.stride)))?;
        let mut all: [PlaneMut<'a>; 4] = Default::default();
        for (slot, plane) in all.iter_mut().zip(planes) {
            *slot = plane;
        }
        Ok(Self { format, width, height, shapes, planes: all })
    }

    /// The encoding.
    pub fn format(&self) -> VideoFormat {
        self.format
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Shapes of the planes; unused ones are empty.
    pub fn shapes(&self) -> &[PlaneShape; 4] {
        &self.shapes
    }

    /// Row `y` of a plane.
    ///
    /// # Panics
    /// When the plane has no such row.
    pub fn row_mut(&mut self, plane: usize, y: usize) -> &mut [u8] {
        let stride = self.planes[plane].stride;
        let row = &mut self.planes[plane].data[y * stride..];
        &mut row[..self.shapes[plane].row]
    }

    /// Rows `y` of planes 1 and 2; the second is empty when there is no plane 2.
    pub(crate) fn chroma_rows_mut(&mut self, y: usize) -> (&mut [u8], &mut [u8]) {
        let [_, u, v, _] = &mut self.planes;
        let (u, v) = (&mut u.data[y * u.stride..], &mut v.data[y * v.stride..]);
        (&mut u[..self.shapes[1].row], &mut v[..self.shapes[2].row])
    }

    /// Whole plane as one run of bytes, if its rows follow one another without gaps.
    pub(crate) fn contiguous_mut(&mut self, plane: usize) -> Option<&mut [u8]> {
        let shape = self.shapes[plane];
        let plane = &mut self.planes[plane];
        (plane.stride == shape.row).then(|| &mut plane.data[..shape.len()])
    }

    /// The same picture to read.
    pub fn as_picture(&self) -> Picture<'_> {
        let mut planes = [Plane::default(); 4];
        for (slot, plane) in planes.iter_mut().zip(&self.planes) {
            *slot = Plane { data: plane.data, stride: plane.stride };
        }
        Picture { format: self.format, width: self.width, height: self.height, shapes: self.shapes, planes }
    }
}

impl Picture<'_> {
    /// Whole plane as one run of bytes, if its rows follow one another without gaps.
    pub(crate) fn contiguous(&self, plane: usize) -> Option<&[u8]> {
        let shape = self.shapes[plane];
        let plane = self.planes[plane];
        (plane.stride == shape.row).then(|| &plane.data[..shape.len()])
    }
}

fn check_length(
    format: VideoFormat,
    width: u32,
    height: u32,
    shapes: &[PlaneShape; 4],
    actual: usize,
) -> Result<(), VideoError> {
    let expected = shapes.iter().map(|shape| shape.len()).sum();
    if actual == expected { Ok(()) } else { Err(VideoError::Length { format, width, height, expected, actual }) }
}

fn check_planes(
    format: VideoFormat,
    shapes: &[PlaneShape; 4],
    planes: impl ExactSizeIterator<Item = (usize, usize)>,
) -> Result<(), VideoError> {
    let (expected, actual) = (format.plane_count(), planes.len());
    if actual != expected {
        return Err(VideoError::PlaneCount { format, expected, actual });
    }
    for (plane, ((actual, stride), shape)) in planes.zip(shapes).enumerate() {
        if stride < shape.row {
            return Err(VideoError::Stride { format, plane, row: shape.row, stride });
        }
        let expected = stride.saturating_mul(shape.rows - 1).saturating_add(shape.row);
        if actual < expected {
            return Err(VideoError::PlaneLength { format, plane, expected, actual, stride });
        }
    }
    Ok(())
}
