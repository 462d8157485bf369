use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Recycles buffers of whole pictures, so that a stream of frames allocates nothing after the first few.
///
/// Clones share the same buffers. At most `capacity` idle buffers (and `bytes`) are kept; the oldest go first.
#[derive(Debug, Clone)]
pub struct BufferPool {
    shelf: Arc<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    capacity: usize,
    bytes: usize,
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Shelf {
    fn idle(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Self::with_limit(capacity, usize::MAX)
    }

    /// A pool that keeps at most `capacity` idle buffers of together at most `bytes`.
    pub fn with_limit(capacity: usize, bytes: usize) -> Self {
        Self { shelf: Arc::new(Shelf { capacity, bytes, idle: Mutex::new(Vec::with_capacity(capacity + 1)) }) }
    }

    /// A buffer of exactly `len` bytes.
    ///
    /// An idle one is taken when it fits without wasting more than half of it.
    pub fn take(&self, len: usize) -> PooledBuffer {
        let mut idle = self.shelf.idle();
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
        self.shelf.idle().len()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut idle = self.shelf.idle();
        idle.push(std::mem::take(&mut self.data));
        let mut bytes: usize = idle.iter().map(Vec::capacity).sum();
        let excess = idle.len().saturating_sub(self.shelf.capacity);
        let evicted = idle.iter().enumerate().take_while(|(index, buffer)| {
            let over = *index < excess || bytes > self.shelf.bytes;
            bytes -= buffer.capacity();
            over
        });
        let count = evicted.count();
        if count > 0 {
            let freed: Vec<_> = idle.drain(..count).collect();
            // Unmapping megabytes takes its time; nobody should wait for it.
            drop(idle);
            drop(freed);
        }
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
