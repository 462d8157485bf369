//! Why a command was refused.

use thiserror::Error;

/// Why a command was refused at once. What fails later is an event.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine was closed, its thread has ended, or it is the copy of a parent process's engine.
    #[error("the media engine is closed, or was made before a fork")]
    Closed,
    /// A port is taken or an address is not of this host.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An argument cannot be used.
    #[error("{0}")]
    Invalid(String),
}
