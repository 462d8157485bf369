//! `Keyring`: the keys of a room's participants.

use std::sync::{Arc, Mutex, PoisonError};

use greenroom_media::encryption::{self as core, Derivation, EncryptionError, Encryptor, KeyOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Keys by participant and index.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct Keyring(pub(crate) Arc<core::Keyring>, Mutex<Option<(String, u8, Encryptor)>>);

#[pymethods]
impl Keyring {
    #[new]
    #[pyo3(signature = (*, salt, ratchet_window, failure_tolerance, ring_size, hkdf))]
    fn new(
        salt: Vec<u8>,
        ratchet_window: usize,
        failure_tolerance: Option<u32>,
        ring_size: usize,
        hkdf: bool,
    ) -> PyResult<Self> {
        let derivation = if hkdf { Derivation::Hkdf } else { Derivation::Pbkdf2 };
        let options = KeyOptions { salt, ratchet_window, failure_tolerance, ring_size, derivation };
        Ok(Self(Arc::new(core::Keyring::new(options).map_err(invalid)?), Mutex::default()))
    }

    fn set(&self, py: Python<'_>, identity: Option<&str>, index: u8, key: Vec<u8>) -> PyResult<()> {
        py.detach(|| self.0.set(identity, index, &key)).map_err(invalid)
    }

    fn export<'py>(&self, py: Python<'py>, identity: Option<&str>, index: u8) -> Option<Bound<'py, PyBytes>> {
        self.0.export(identity, index).map(|material| PyBytes::new(py, &material))
    }

    fn ratchet<'py>(&self, py: Python<'py>, identity: Option<&str>, index: u8) -> PyResult<Bound<'py, PyBytes>> {
        let material = py.detach(|| self.0.ratchet(identity, index)).map_err(invalid)?;
        Ok(PyBytes::new(py, &material))
    }

    fn seal<'py>(
        &self,
        py: Python<'py>,
        identity: String,
        index: u8,
        data: &[u8],
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let mut sealing = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if sealing.as_ref().is_none_or(|(whose, which, _)| *whose != identity || *which != index) {
            let encryptor = Encryptor::new(self.0.clone(), identity.clone(), index, greenroom_engine::random_nonce());
            *sealing = Some((identity, index, encryptor));
        }
        let Some((_, _, encryptor)) = sealing.as_mut() else {
            return Err(PyValueError::new_err("no encryptor"));
        };
        let (nonce, sealed) = encryptor.seal_data(data).map_err(invalid)?;
        Ok((PyBytes::new(py, &nonce), PyBytes::new(py, &sealed)))
    }

    fn open<'py>(
        &self,
        py: Python<'py>,
        identity: &str,
        index: u8,
        nonce: &[u8],
        sealed: &[u8],
    ) -> Option<Bound<'py, PyBytes>> {
        let data = self.0.open_data(identity, index, nonce.try_into().ok()?, sealed)?;
        Some(PyBytes::new(py, &data))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn invalid(error: EncryptionError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
