//! Pictures in eleven encodings: their layouts, conversion between all of them, scaling, rotation and cropping.
//!
//! [`VideoFormat`] names are *memory byte order*: `Rgba` is the bytes R, G, B, A. A [`Picture`] borrows the planes of
//! one picture with their strides; [`convert()`] turns any format into any other in one pass over cache-sized strips.
//! Nothing here allocates in steady state: row scratch is per thread and [`BufferPool`] recycles whole pictures.

mod chroma;
mod coefficients;
mod convert;
mod error;
mod format;
mod kernels;
mod picture;
mod pool;
mod resize;
mod rotate;

pub use coefficients::{Matrix, Range};
pub use convert::{ConvertOptions, convert};
pub use error::VideoError;
pub use format::{MAX_DIMENSION, PlaneShape, VideoFormat, packed_len};
pub use kernels::Isa;
pub use picture::{Picture, PictureMut, Plane, PlaneMut};
pub use pool::{BufferPool, PooledBuffer};
pub use resize::{Filter, resize};
pub use rotate::{Rotation, rotate};
