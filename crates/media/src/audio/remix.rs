/// Appends `input` with its channels made into `out_channels`.
///
/// Going up, channels repeat (mono becomes both sides of stereo); going down, those that fall on the same one are
/// averaged (stereo to mono: half the sum, rounded). An incomplete frame at the end is left out, as is everything when
/// a channel count is 0.
pub fn remix(input: &[i16], in_channels: usize, out_channels: usize, out: &mut Vec<i16>) {
    if in_channels == 0 || out_channels == 0 {
        return;
    }
    let frames = input.chunks_exact(in_channels);
    out.reserve(frames.len() * out_channels);
    match (in_channels, out_channels) {
        (a, b) if a == b => out.extend_from_slice(&input[..frames.len() * in_channels]),
        (1, 2) => out.extend(input.iter().flat_map(|&sample| [sample, sample])),
        (2, 1) => out.extend(
            input.as_chunks::<2>().0.iter().map(|&[left, right]| average(i32::from(left) + i32::from(right), 2)),
        ),
        (a, b) if a < b => {
            out.extend(frames.flat_map(|frame| frame.iter().copied().cycle().take(out_channels)));
        }
        _ => out.extend(frames.flat_map(|frame| {
            (0..out_channels).map(|channel| {
                let folded = frame.iter().skip(channel).step_by(out_channels);
                let count = folded.len() as i32;
                average(folded.map(|&sample| i32::from(sample)).sum(), count)
            })
        })),
    }
}

fn average(sum: i32, count: i32) -> i16 {
    (sum + count / 2).div_euclid(count) as i16
}
