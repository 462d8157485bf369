//! Scaling, turning, cropping and buffers that come back.

use greenroom_media::video::{
    BufferPool, ConvertOptions, Filter, Picture, PictureMut, Rotation, VideoError, VideoFormat, convert, packed_len,
    resize, rotate,
};

const SIZES: [(u32, u32); 6] = [(1, 1), (2, 2), (3, 5), (64, 33), (35, 70), (40, 30)];
const ROTATIONS: [Rotation; 4] = [Rotation::None, Rotation::Clockwise90, Rotation::Half, Rotation::Clockwise270];

/// A picture whose samples all differ from their neighbours.
fn picture(format: VideoFormat, width: u32, height: u32) -> Vec<u8> {
    let len = packed_len(format, width, height).unwrap();
    let mut data: Vec<u8> = (0..len).map(|index| (index * 89 + index / 251) as u8).collect();
    if format == VideoFormat::I010 {
        data.iter_mut().skip(1).step_by(2).for_each(|high| *high &= 3);
    }
    data
}

fn turned(format: VideoFormat, size: (u32, u32), data: &[u8], rotation: Rotation) -> Vec<u8> {
    let (width, height) = rotation.apply(size.0, size.1);
    let mut out = vec![0xA5; packed_len(format, width, height).unwrap()];
    let source = Picture::packed(format, size.0, size.1, data).unwrap();
    rotate(&source, &mut PictureMut::packed(format, width, height, &mut out).unwrap(), rotation).unwrap();
    out
}

fn scaled(format: VideoFormat, size: (u32, u32), data: &[u8], to: (u32, u32), filter: Filter) -> Vec<u8> {
    let mut out = vec![0xA5; packed_len(format, to.0, to.1).unwrap()];
    let source = Picture::packed(format, size.0, size.1, data).unwrap();
    resize(&source, &mut PictureMut::packed(format, to.0, to.1, &mut out).unwrap(), filter).unwrap();
    out
}

#[test]
fn a_quarter_turn_moves_the_left_edge_to_the_top() {
    // 1 2      5 3 1
    // 3 4  ->  6 4 2
    // 5 6
    let pixels: Vec<u8> = (1..=6).flat_map(|value| [value; 4]).collect();
    let expect = |order: [u8; 6]| order.iter().flat_map(|&value| [value; 4]).collect::<Vec<u8>>();
    let format = VideoFormat::Bgra;
    assert_eq!(turned(format, (2, 3), &pixels, Rotation::Clockwise90), expect([5, 3, 1, 6, 4, 2]));
    assert_eq!(turned(format, (2, 3), &pixels, Rotation::Half), expect([6, 5, 4, 3, 2, 1]));
    assert_eq!(turned(format, (2, 3), &pixels, Rotation::Clockwise270), expect([2, 4, 6, 1, 3, 5]));
}

#[test]
fn turns_add_up() {
    for format in VideoFormat::ALL {
        for size in SIZES {
            let data = picture(format, size.0, size.1);
            let quarter = |data: &[u8], size: (u32, u32)| turned(format, size, data, Rotation::Clockwise90);
            let once = quarter(&data, size);
            let twice = quarter(&once, (size.1, size.0));
            let thrice = quarter(&twice, size);
            // Chroma of I422 loses a little in every quarter turn.
            if format != VideoFormat::I422 {
                assert!(twice == turned(format, size, &data, Rotation::Half), "{format} {size:?}");
                assert!(thrice == turned(format, size, &data, Rotation::Clockwise270), "{format} {size:?}");
                assert!(quarter(&thrice, (size.1, size.0)) == data, "{format} {size:?}");
            }
            assert!(turned(format, size, &data, Rotation::None) == data, "{format} {size:?}");
        }
    }
}

#[test]
fn a_plain_i422_picture_keeps_its_colours_when_turned() {
    let (width, height) = (5, 3);
    let mut data = vec![100; packed_len(VideoFormat::I422, width, height).unwrap()];
    data[15..24].fill(60);
    data[24..].fill(200);
    for rotation in ROTATIONS {
        let (w, h) = rotation.apply(width, height);
        let chroma = (w.div_ceil(2) * h) as usize;
        let out = turned(VideoFormat::I422, (width, height), &data, rotation);
        assert_eq!(out, [vec![100; 15], vec![60; chroma], vec![200; chroma]].concat(), "{rotation:?}");
    }
}

#[test]
fn scaling_keeps_plain_pictures_plain_and_equal_sizes_untouched() {
    for format in VideoFormat::ALL {
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Area] {
            for size in SIZES {
                let data = picture(format, size.0, size.1);
                assert!(scaled(format, size, &data, size, filter) == data, "{format} {size:?} {filter:?}");
                for to in SIZES {
                    let plain: Vec<u8> = [[7, 2], [130, 2]][usize::from(format != VideoFormat::I010)]
                        .into_iter()
                        .cycle()
                        .take(data.len())
                        .map(|byte| if format == VideoFormat::I010 { byte } else { 130 })
                        .collect();
                    let out = scaled(format, size, &plain, to, filter);
                    let expected: Vec<u8> = (0..out.len()).map(|index| plain[index % 2 % plain.len()]).collect();
                    assert!(out == expected, "{format} {size:?} -> {to:?} {filter:?}");
                }
            }
        }
    }
}

#[test]
fn half_the_size_by_area_is_the_mean_of_four() {
    for (width, height) in [(64, 48), (62, 46)] {
        let data = picture(VideoFormat::I444, width, height);
        let out = scaled(VideoFormat::I444, (width, height), &data, (width / 2, height / 2), Filter::Area);
        let (w, h) = (width as usize, height as usize);
        for plane in 0..3 {
            for y in 0..h / 2 {
                for x in 0..w / 2 {
                    let at = |x: usize, y: usize| u32::from(data[plane * w * h + y * w + x]);
                    let sum = at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1);
                    assert_eq!(u32::from(out[plane * w * h / 4 + y * w / 2 + x]), (sum + 2) / 4);
                }
            }
        }
    }
}

#[test]
fn a_ramp_stays_a_ramp_at_any_size() {
    for filter in [Filter::Bilinear, Filter::Area] {
        for to in [16_u32, 50, 100, 150, 255, 400] {
            let ramp: Vec<u8> = (0..200).collect();
            let data: Vec<u8> = ramp.iter().flat_map(|&value| [value, 255 - value, value]).collect();
            let out = scaled(VideoFormat::Rgb24, (200, 1), &data, (to, 1), filter);
            for (x, pixel) in out.chunks(3).enumerate() {
                let expected = (x as f64 + 0.5) * 200.0 / f64::from(to) - 0.5;
                let expected = expected.clamp(0.0, 199.0);
                let edge = 200.0 / f64::from(to) * 0.5;
                let near_edge = expected < edge || expected > 199.0 - edge;
                let limit = if filter == Filter::Area { 1.0 } else { 0.51 } + if near_edge { edge } else { 0.0 };
                assert!((f64::from(pixel[0]) - expected).abs() <= limit, "{filter:?} {to} {x}: {pixel:?} {expected}");
                assert_eq!(pixel[0], pixel[2]);
            }
        }
    }
}

#[test]
fn a_crop_shows_the_rectangle_and_nothing_else() {
    for format in VideoFormat::ALL {
        let data = picture(format, 20, 14);
        let source = Picture::packed(format, 20, 14, &data).unwrap();
        let view = source.crop(4, 6, 7, 5).unwrap();
        for plane in 0..format.plane_count() {
            let (whole, part) = (source.shapes()[plane], view.shapes()[plane]);
            for y in 0..part.rows {
                let (top, left) = (6 * whole.rows / 14, 4 * whole.row / 20);
                assert_eq!(
                    view.row(plane, y),
                    &source.row(plane, top + y)[left..left + part.row],
                    "{format} {plane} {y}"
                );
            }
        }
        let mut out = vec![0; packed_len(VideoFormat::Rgba, 7, 5).unwrap()];
        let mut target = PictureMut::packed(VideoFormat::Rgba, 7, 5, &mut out).unwrap();
        convert(&view, &mut target, ConvertOptions::default()).unwrap();
    }
}

#[test]
fn rectangles_that_stick_out_are_refused() {
    let data = picture(VideoFormat::Nv12, 20, 14);
    let source = Picture::packed(VideoFormat::Nv12, 20, 14, &data).unwrap();
    for (x, y, width, height) in [(14, 0, 7, 1), (0, 13, 1, 2), (u32::MAX, 0, 2, 2), (20, 0, 1, 1)] {
        assert!(matches!(source.crop(x, y, width, height), Err(VideoError::Rectangle { .. })), "{x} {y}");
    }
    assert!(matches!(source.crop(0, 0, 0, 1), Err(VideoError::Size { .. })));
    assert!(source.crop(19, 13, 1, 1).is_ok());
}

#[test]
fn a_target_of_another_format_or_size_is_refused() {
    let data = picture(VideoFormat::Rgba, 4, 2);
    let source = Picture::packed(VideoFormat::Rgba, 4, 2, &data).unwrap();
    let mut out = vec![0; 32];
    let mut target = PictureMut::packed(VideoFormat::Bgra, 4, 2, &mut out).unwrap();
    assert!(matches!(resize(&source, &mut target, Filter::Area), Err(VideoError::TargetFormat(..))));
    assert!(matches!(rotate(&source, &mut target, Rotation::None), Err(VideoError::TargetFormat(..))));
    let mut target = PictureMut::packed(VideoFormat::Rgba, 4, 2, &mut out).unwrap();
    assert!(matches!(rotate(&source, &mut target, Rotation::Clockwise90), Err(VideoError::TargetSize(4, 2, 2, 4))));
}

#[test]
fn a_pool_gives_the_same_memory_again_and_keeps_its_limits() {
    let pool = BufferPool::with_limit(2, 1000);
    let first = pool.take(100);
    let address = first.as_ptr();
    drop(first);
    let again = pool.take(90);
    assert_eq!((again.as_ptr(), again.len()), (address, 90));
    assert_eq!(pool.idle(), 0);
    let others: Vec<_> = (0..4).map(|_| pool.take(100)).collect();
    drop(others);
    drop(again);
    assert_eq!(pool.idle(), 2);
    drop(pool.take(2000));
    assert!(pool.idle() <= 1, "a buffer above the limit must not stay");
    assert_ne!(pool.take(10).len(), 100);
}
