use super::format::{MAX_DIMENSION, VideoFormat};

/// Why a picture was refused. The texts reach Python users as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VideoError {
    /// A width or height that is zero or above [`MAX_DIMENSION`].
    #[error("a picture of {width}x{height} is not possible: width and height must be 1 to {MAX_DIMENSION}")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A number that is none of the eleven formats.
    #[error("{0} is not a video buffer type: 0 (RGBA) to 10 (NV12) are")]
    UnknownFormat(i64),
    /// The buffer does not have the length that the format and the size ask for.
    #[error("{format} of {width}x{height} needs {expected} bytes, got {actual}")]
    Length {
        /// The encoding.
        format: VideoFormat,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes of the tightly packed picture.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// Not as many planes as the format has.
    #[error("{format} has {expected} planes, got {actual}")]
    PlaneCount {
        /// The encoding.
        format: VideoFormat,
        /// Planes the format has.
        expected: usize,
        /// Planes that were given.
        actual: usize,
    },
    /// A stride shorter than a row.
    #[error("plane {plane} of {format} has rows of {row} bytes, a stride of {stride} is too short")]
    Stride {
        /// The encoding.
        format: VideoFormat,
        /// Which plane.
        plane: usize,
        /// Bytes of one row.
        row: usize,
        /// The stride that was given.
        stride: usize,
    },
    /// A plane that ends before its last row does.
    #[error("plane {plane} of {format} needs {expected} bytes with a stride of {stride}, got {actual}")]
    PlaneLength {
        /// The encoding.
        format: VideoFormat,
        /// Which plane.
        plane: usize,
        /// Bytes from its first to its last pixel.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
        /// Its stride.
        stride: usize,
    },
    /// Source and target of an operation differ in size.
    #[error("the target is {0}x{1}, it must be {2}x{3}")]
    TargetSize(u32, u32, u32, u32),
    /// Source and target of an operation that keeps the format differ in it.
    #[error("the target is {0}, it must be {1}")]
    TargetFormat(VideoFormat, VideoFormat),
    /// A rectangle that does not lie in the picture.
    #[error("the rectangle {width}x{height} at ({x}, {y}) does not lie within {picture_width}x{picture_height}")]
    Rectangle {
        /// Left edge.
        x: u32,
        /// Top edge.
        y: u32,
        /// Width of the rectangle.
        width: u32,
        /// Height of the rectangle.
        height: u32,
        /// Width of the picture.
        picture_width: u32,
        /// Height of the picture.
        picture_height: u32,
    },
}
