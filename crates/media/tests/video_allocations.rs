//! After the first frames, pictures are converted, scaled, turned and recycled without a single allocation.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use greenroom_media::video::{
    BufferPool, ConvertOptions, Filter, Picture, PictureMut, Rotation, VideoFormat, convert, packed_len, resize, rotate,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZE: (u32, u32) = (161, 91);

/// Every operation once, on buffers from the pool.
fn work(pool: &BufferPool) {
    let (width, height) = SIZE;
    for from in VideoFormat::ALL {
        let data = pool.take(packed_len(from, width, height).unwrap());
        let source = Picture::packed(from, width, height, &data).unwrap();
        for to in VideoFormat::ALL {
            let mut out = pool.take(packed_len(to, width, height).unwrap());
            let mut target = PictureMut::packed(to, width, height, &mut out).unwrap();
            convert(&source, &mut target, ConvertOptions::default()).unwrap();
        }
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Area] {
            let mut out = pool.take(packed_len(from, 77, 120).unwrap());
            resize(&source, &mut PictureMut::packed(from, 77, 120, &mut out).unwrap(), filter).unwrap();
        }
        let mut out = pool.take(packed_len(from, height, width).unwrap());
        let mut target = PictureMut::packed(from, height, width, &mut out).unwrap();
        rotate(&source, &mut target, Rotation::Clockwise90).unwrap();
    }
}

#[test]
fn steady_state_allocates_nothing() {
    let pool = BufferPool::new(8);
    (0..3).for_each(|_| work(&pool));
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter counts");
    work(&pool);
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
