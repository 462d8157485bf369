//! The Python face of the engine. Decides nothing.
use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {}
