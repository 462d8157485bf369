use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Recycles buffers of whole pictures, so that a stream of frames allocates nothing after the first few.
///
/// Clones share the same buffers. At most `capacity` idle buffers are kept; the oldest go first.
#[derive(Debug, Clone)]
pub struct BufferPool {
    shelf: Arc<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    capacity: usize,
    idle: Mutex<Vec<Vec<u8>>>,
}

/// Bytes from a [`BufferPool`]; dropping them gives them back. The content is whatever was there before.
#[derive(Debug)]
pub struct PooledBuffer {
    data: Vec<u8>,
    shelf: Arc<Shelf>,
}

impl BufferPool {
    /// A pool that keeps at most `capacity` idle buffers.
    pub fn new(capacity: usize) -> Self {
        Self { shelf: Arc::new(Shelf { capacity, idle: Mutex::new(Vec::with_capacity(capacity)) }) }
    }

    /// A buffer of exactly `len` bytes.
    ///
    /// An idle one is taken when it fits without wasting more than half of it.
    pub fn take(&self, len: usize) -> PooledBuffer {
        let mut idle = self.shelf.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().rposition(|buffer| buffer.capacity() >= len && buffer.capacity() / 2 <= len);
        let mut data = found.map(|index| idle.remove(index)).unwrap_or_default();
        drop(idle);
        if data.capacity() < len {
            data = vec![0; len];
        }
        data.resize(len, 0);
        PooledBuffer { data, shelf: Arc::clone(&self.shelf) }
    }

    /// How many buffers wait for reuse.
    pub fn idle(&self) -> usize {
        self.shelf.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        let mut idle = self.shelf.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let evicted = (idle.len() >= self.shelf.capacity && !idle.is_empty()).then(|| idle.remove(0));
        if self.shelf.capacity > 0 {
            idle.push(data);
        }
        drop(idle);
        drop(evicted);
    }
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}
