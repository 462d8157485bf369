//! All pairs of formats against a floating-point model of a picture, on every instruction set this machine has.

use greenroom_media::video::{
    ConvertOptions, Isa, Matrix, Picture, PictureMut, Plane, PlaneMut, Range, VideoError, VideoFormat, convert,
    packed_len,
};

mod model;
use model::Model;

const SIZES: [(u32, u32); 9] = [(1, 1), (2, 2), (3, 5), (1, 7), (7, 1), (33, 3), (64, 4), (131, 5), (200, 2)];

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        })
        .collect()
}

/// Random bytes that are a valid picture: no more than ten bits per deep sample.
fn picture(format: VideoFormat, width: u32, height: u32, seed: u32) -> Vec<u8> {
    let mut data = noise(packed_len(format, width, height).unwrap(), seed);
    if format == VideoFormat::I010 {
        data.iter_mut().skip(1).step_by(2).for_each(|high| *high &= 3);
    }
    data
}

fn converted(
    from: VideoFormat,
    to: VideoFormat,
    width: u32,
    height: u32,
    data: &[u8],
    options: ConvertOptions,
) -> Vec<u8> {
    let source = Picture::packed(from, width, height, data).unwrap();
    let mut out = vec![0xA5; packed_len(to, width, height).unwrap()];
    let mut target = PictureMut::packed(to, width, height, &mut out).unwrap();
    convert(&source, &mut target, options).unwrap();
    out
}

fn every_option() -> impl Iterator<Item = ConvertOptions> {
    [Matrix::Bt601, Matrix::Bt709].into_iter().flat_map(|matrix| {
        [Range::Limited, Range::Full].into_iter().flat_map(move |range| {
            [false, true].into_iter().map(move |flip_y| ConvertOptions { flip_y, matrix, range, isa: Isa::PORTABLE })
        })
    })
}

#[test]
fn all_pairs_agree_with_the_model() {
    for (index, (width, height)) in SIZES.into_iter().enumerate() {
        for from in VideoFormat::ALL {
            let data = picture(from, width, height, index as u32 + 1);
            for options in every_option() {
                let model = Model::read(from, width as usize, height as usize, &data);
                for to in VideoFormat::ALL {
                    let out = converted(from, to, width, height, &data, options);
                    let expected = model.write(to, options);
                    let worst = model::worst_difference(to, &out, &expected);
                    let limit = if to == VideoFormat::I010 { 2.6 } else { 1.0 };
                    assert!(worst <= limit, "{from} -> {to} {width}x{height} {options:?}: off by {worst}");
                }
            }
        }
    }
}

#[test]
fn all_instruction_sets_give_the_same_bytes() {
    for (index, (width, height)) in SIZES.into_iter().chain([(1000, 2), (998, 3), (517, 4)]).enumerate() {
        for from in VideoFormat::ALL {
            // Not masked to ten bits: invalid samples must agree, too.
            let data = noise(packed_len(from, width, height).unwrap(), index as u32 + 77);
            for to in VideoFormat::ALL {
                for options in every_option() {
                    let expected = converted(from, to, width, height, &data, options);
                    for isa in Isa::available() {
                        let out = converted(from, to, width, height, &data, ConvertOptions { isa, ..options });
                        assert!(out == expected, "{from} -> {to} {width}x{height} {options:?} on {}", isa.name());
                    }
                }
            }
        }
    }
}

#[test]
fn padded_strides_change_nothing_and_padding_stays_untouched() {
    let (width, height) = (37, 6);
    for from in VideoFormat::ALL {
        let data = picture(from, width, height, 5);
        let packed = Picture::packed(from, width, height, &data).unwrap();
        let padded: Vec<Vec<u8>> = (0..from.plane_count())
            .map(|plane| {
                let shape = packed.shapes()[plane];
                (0..shape.rows).flat_map(|y| [packed.row(plane, y), &[0xEE; 13]].concat()).collect()
            })
            .collect();
        let planes: Vec<Plane<'_>> = padded
            .iter()
            .zip(packed.shapes())
            .map(|(data, shape)| Plane { data: &data[..data.len() - 13], stride: shape.row + 13 })
            .collect();
        let source = Picture::new(from, width, height, &planes).unwrap();
        for to in VideoFormat::ALL {
            let expected = converted(from, to, width, height, &data, ConvertOptions::default());
            let shapes = to.plane_shapes(width, height).unwrap();
            let mut out: Vec<Vec<u8>> =
                shapes[..to.plane_count()].iter().map(|s| vec![0x5A; (s.row + 9) * s.rows]).collect();
            let planes = out.iter_mut().zip(shapes).map(|(data, s)| PlaneMut { data, stride: s.row + 9 }).collect();
            let mut target = PictureMut::new(to, width, height, planes).unwrap();
            convert(&source, &mut target, ConvertOptions::default()).unwrap();
            let mut pixels = Vec::new();
            for (plane, shape) in out.iter().zip(shapes) {
                for row in plane.chunks(shape.row + 9) {
                    pixels.extend_from_slice(&row[..shape.row]);
                    assert!(row[shape.row..].iter().all(|&byte| byte == 0x5A), "{from} -> {to} wrote into the padding");
                }
            }
            assert!(pixels == expected, "{from} -> {to} with strides");
        }
    }
}

#[test]
fn turning_over_twice_is_the_identity_for_equal_formats() {
    for format in VideoFormat::ALL {
        let data = picture(format, 9, 7, 3);
        let flip = ConvertOptions { flip_y: true, ..ConvertOptions::default() };
        let once = converted(format, format, 9, 7, &data, flip);
        assert_ne!(once, data, "{format}");
        assert_eq!(converted(format, format, 9, 7, &once, flip), data, "{format}");
    }
}

#[test]
fn wrong_buffers_are_refused_with_the_right_length() {
    let wrong = Picture::packed(VideoFormat::Rgba, 1920, 1080, b"123").unwrap_err();
    assert_eq!(wrong.to_string(), "RGBA of 1920x1080 needs 8294400 bytes, got 3");
    for (width, height) in [(0, 1), (1, 0), (16_385, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
        for format in VideoFormat::ALL {
            assert_eq!(packed_len(format, width, height), Err(VideoError::Size { width, height }));
        }
    }
    for number in [-1, 11, i64::MIN, i64::MAX] {
        assert_eq!(VideoFormat::try_from(number), Err(VideoError::UnknownFormat(number)));
    }
    let short = [Plane { data: &[0; 15], stride: 8 }];
    assert!(matches!(Picture::new(VideoFormat::Rgba, 2, 2, &short), Err(VideoError::PlaneLength { expected: 16, .. })));
    let narrow = [Plane { data: &[0; 16], stride: 7 }];
    assert!(matches!(Picture::new(VideoFormat::Rgba, 2, 2, &narrow), Err(VideoError::Stride { row: 8, .. })));
    let huge = [Plane { data: &[0; 16], stride: usize::MAX }];
    assert!(matches!(Picture::new(VideoFormat::Rgba, 2, 2, &huge), Err(VideoError::PlaneLength { .. })));
    assert!(matches!(Picture::new(VideoFormat::I420, 2, 2, &short), Err(VideoError::PlaneCount { expected: 3, .. })));
}

#[test]
fn known_pixels_pin_the_channel_order_down() {
    let one = |format, data: &[u8], to| converted(format, to, 1, 1, data, ConvertOptions::default());
    for (format, red) in [
        (VideoFormat::Rgba, vec![255, 0, 0, 255]),
        (VideoFormat::Abgr, vec![255, 0, 0, 255]),
        (VideoFormat::Argb, vec![255, 255, 0, 0]),
        (VideoFormat::Bgra, vec![0, 0, 255, 255]),
        (VideoFormat::Rgb24, vec![255, 0, 0]),
        (VideoFormat::I420, vec![81, 90, 240]),
        (VideoFormat::I420A, vec![81, 90, 240, 255]),
        (VideoFormat::I422, vec![81, 90, 240]),
        (VideoFormat::I444, vec![81, 90, 240]),
        (VideoFormat::I010, vec![0x46, 1, 0x69, 1, 0xC0, 3]),
        (VideoFormat::Nv12, vec![81, 90, 240]),
    ] {
        assert_eq!(one(VideoFormat::Rgb24, &[255, 0, 0], format), red, "red to {format}");
        let back = one(format, &red, VideoFormat::Rgb24);
        let distance = back.iter().zip([255u8, 0, 0]).map(|(a, b)| a.abs_diff(b)).max();
        assert!(distance <= Some(1), "{format} to red: {back:?}");
    }
    assert_eq!(one(VideoFormat::Rgba, &[255, 255, 0, 0], VideoFormat::I420), [210, 16, 146], "yellow");
}
