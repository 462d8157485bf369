/// Why a codec did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The caller passed something that cannot be right; the text says what would be.
    #[error("{0}")]
    Invalid(String),
    /// A received packet or frame cannot be decoded. For video: ask the sender for a key frame.
    #[error("cannot decode: {0}")]
    Corrupt(String),
    /// The codec library failed on valid input, in practice for lack of memory.
    #[error("{library} failed: {detail}")]
    Failed {
        /// The library's name.
        library: &'static str,
        /// Its own words.
        detail: String,
    },
}

impl CodecError {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    pub(crate) fn corrupt(text: impl Into<String>) -> Self {
        Self::Corrupt(text.into())
    }

    pub(crate) fn failed(library: &'static str, detail: impl Into<String>) -> Self {
        Self::Failed { library, detail: detail.into() }
    }
}
