use std::sync::Arc;

use super::*;

fn ring(window: usize, tolerance: Option<u32>, derivation: Derivation) -> Arc<Keyring> {
    let salt = b"LKFrameEncryptionKey".to_vec();
    let options = KeyOptions { salt, ratchet_window: window, failure_tolerance: tolerance, ring_size: 16, derivation };
    Arc::new(Keyring::new(options).unwrap())
}

fn hkdf() -> Arc<Keyring> {
    ring(4, None, Derivation::Hkdf)
}

fn sender(keys: &Arc<Keyring>, index: u8) -> Encryptor {
    Encryptor::new(Arc::clone(keys), "ada".into(), index, [7; 12])
}

fn receiver(keys: &Arc<Keyring>) -> Decryptor {
    Decryptor::new(Some(Arc::clone(keys)), "ada".into(), b"injected".to_vec(), true)
}

fn pair() -> (Arc<Keyring>, Arc<Keyring>) {
    let (one, other) = (hkdf(), hkdf());
    one.set(None, 0, b"a key").unwrap();
    other.set(None, 0, b"a key").unwrap();
    (one, other)
}

/// Numbers that look random, the same at every run.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn h264(seed: usize, length: usize) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 1, 0x67, 0x42, 9, 0, 0, 1, 0x68, 0xce, 0, 0, 0, 1, 0x65, 0x88];
    frame.extend(noise(seed, length).into_iter().map(|byte| byte | 0x10));
    frame
}

#[test]
fn frames_of_every_length_come_back() {
    let (ours, theirs) = pair();
    let (mut encryptor, mut decryptor) = (sender(&ours, 0), receiver(&theirs));
    for length in 1..400 {
        // A VP8 frame is never shorter than what is clear of it.
        let kinds = if length < 10 { &[FrameKind::Opus][..] } else { &[FrameKind::Opus, FrameKind::Vp8] };
        for &kind in kinds {
            let frame = noise(length, length);
            let sealed = encryptor.seal(kind, &frame).unwrap();
            assert_eq!(decryptor.open(kind, &sealed), Opened::Frame(frame));
        }
        let frame = h264(length, length);
        let sealed = encryptor.seal(FrameKind::H264, &frame).unwrap();
        let wanted = FrameKind::H264.normal(&frame);
        assert_eq!(decryptor.open(FrameKind::H264, &sealed), Opened::Frame(wanted));
    }
    assert_eq!((encryptor.take_change(), encryptor.take_change()), (Some(State::Ok), None));
    assert_eq!((decryptor.take_change(), decryptor.take_change()), (Some(State::Ok), None));
}

#[test]
fn what_must_be_read_on_the_way_stays_clear_and_the_rest_does_not() {
    let (keys, _) = pair();
    let mut encryptor = sender(&keys, 0);
    let key_frame = [&[0x10, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0][..], b"the picture itself"].concat();
    let delta = [&[0x31, 5, 6][..], b"the picture itself"].concat();
    let opus = [&[0x78][..], b"the sound itself"].concat();
    for (kind, frame, clear) in
        [(FrameKind::Vp8, key_frame, 10), (FrameKind::Vp8, delta, 3), (FrameKind::Opus, opus, 1)]
    {
        let sealed = encryptor.seal(kind, &frame).unwrap();
        assert_eq!(sealed.len(), frame.len() + 16 + 12 + 2);
        assert_eq!(sealed[..clear], frame[..clear]);
        assert!(!sealed.windows(6).any(|part| part == b"itself"));
        assert_eq!(sealed[sealed.len() - 2..], [12, 0]);
    }
}

#[test]
fn h264_slices_hold_no_start_codes_and_keep_their_last_byte() {
    let (ours, theirs) = pair();
    let (mut encryptor, mut decryptor) = (sender(&ours, 0), receiver(&theirs));
    for seed in 0..300 {
        let frame = h264(seed, 3000);
        let sealed = encryptor.seal(FrameKind::H264, &frame).unwrap();
        let units: Vec<&[u8]> = crate::jitter::h264_units(&sealed).collect();
        assert_eq!(units.len(), 3);
        assert_eq!(units.last().unwrap().last(), Some(&0));
        assert!(matches!(decryptor.open(FrameKind::H264, &sealed), Opened::Frame(_)));
    }
}

#[test]
fn no_trailer_makes_a_receiver_stumble() {
    let (keys, _) = pair();
    for kind in [FrameKind::Opus, FrameKind::Vp8, FrameKind::H264] {
        for enabled in [true, false] {
            let mut decryptor = Decryptor::new(Some(Arc::clone(&keys)), "ada".into(), Vec::new(), enabled);
            for length in 0..=64 {
                for trailer in 0..=255 {
                    let mut frame = noise(length * 256 + usize::from(trailer), length);
                    if kind == FrameKind::H264 && length > 10 {
                        frame[..5].copy_from_slice(&[0, 0, 0, 1, 0x65]);
                    }
                    if let [.., nonce_length, index] = &mut frame[..] {
                        (*nonce_length, *index) = (trailer, trailer % 17);
                    }
                    let opened = decryptor.open(kind, &frame);
                    let passes = !(enabled || trailer == 12 && length >= 30);
                    assert_eq!(matches!(opened, Opened::Frame(_)), passes, "{kind:?} {length} {trailer}");
                }
            }
        }
    }
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let (ours, theirs) = pair();
    let sealed = sender(&ours, 0).seal(FrameKind::Opus, &noise(3, 40)).unwrap();
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 0x40;
        assert_eq!(receiver(&theirs).open(FrameKind::Opus, &changed), Opened::Dropped, "byte {index}");
    }
}

#[test]
fn a_wrong_a_missing_and_no_key_are_told_apart() {
    let (ours, _) = pair();
    let wrong = hkdf();
    wrong.set(None, 0, b"another key").unwrap();
    let sealed = sender(&ours, 0).seal(FrameKind::Opus, &noise(1, 50)).unwrap();
    for (keys, state) in
        [(Some(wrong), State::DecryptionFailed), (Some(hkdf()), State::MissingKey), (None, State::MissingKey)]
    {
        let mut decryptor = Decryptor::new(keys, "ada".into(), Vec::new(), true);
        assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Dropped);
        assert_eq!(decryptor.take_change(), Some(state));
    }
    let mut encryptor = sender(&hkdf(), 0);
    assert_eq!(encryptor.seal(FrameKind::Opus, &[1, 2, 3]), None);
    assert_eq!(encryptor.take_change(), Some(State::MissingKey));
}

#[test]
fn participants_have_their_own_keys_and_indexes() {
    let (ours, theirs) = pair();
    ours.set(Some("ada"), 3, b"only ada's").unwrap();
    let sealed = sender(&ours, 3).seal(FrameKind::Opus, b"hello").unwrap();
    let mut decryptor = receiver(&theirs);
    assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Dropped);
    theirs.set(Some("bob"), 3, b"only ada's").unwrap();
    assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Dropped);
    theirs.set(Some("ada"), 3, b"only ada's").unwrap();
    assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Frame(b"hello".to_vec()));
    assert!(matches!(ours.set(None, 16, b"x"), Err(EncryptionError::Invalid(_))));
}

#[test]
fn a_receiver_follows_the_ratchet() {
    let (ours, theirs) = pair();
    let mut decryptor = receiver(&theirs);
    ours.ratchet(None, 0).unwrap();
    let material = ours.ratchet(None, 0).unwrap();
    let mut encryptor = sender(&ours, 0);
    let sealed = encryptor.seal(FrameKind::Opus, b"hello").unwrap();
    assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Dropped);
    let (keys, key) = decryptor.take_search().unwrap();
    keys.look_ahead(&key);
    keys.look_ahead(&key);
    let (nonce, data) = encryptor.seal_data(b"secret").unwrap();
    assert_eq!(theirs.open_data("ada", 0, nonce, &data), Some(b"secret".to_vec()));
    assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Frame(b"hello".to_vec()));
    assert_eq!(decryptor.take_change(), Some(State::KeyRatcheted));
    assert_eq!(theirs.export(Some("ada"), 0), Some(material));
    let sealed = encryptor.seal(FrameKind::Opus, b"again").unwrap();
    assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Frame(b"again".to_vec()));
    assert_eq!(decryptor.take_change(), Some(State::Ok));
}

#[test]
fn a_key_that_fails_too_often_is_given_up_until_another_comes() {
    let (ours, _) = pair();
    let theirs = ring(0, Some(2), Derivation::Hkdf);
    theirs.set(None, 0, b"another key").unwrap();
    let mut decryptor = receiver(&theirs);
    let sealed = sender(&ours, 0).seal(FrameKind::Opus, b"hello").unwrap();
    for _ in 0..5 {
        assert_eq!(decryptor.open(FrameKind::Opus, &sealed), Opened::Dropped);
    }
    theirs.set(None, 0, b"a key").unwrap();
    assert!(matches!(decryptor.open(FrameKind::Opus, &sealed), Opened::Frame(_)));
}

#[test]
fn frames_of_the_server_are_known_by_their_end() {
    let (_, theirs) = pair();
    let mut decryptor = receiver(&theirs);
    assert_eq!(decryptor.open(FrameKind::Opus, b"\xf8\xff\xfeinjected"), Opened::Injected);
    assert_eq!(decryptor.open(FrameKind::Opus, b"\xf8\xff\xfe"), Opened::Dropped);
}

#[test]
fn data_comes_back_only_with_the_key() {
    let (ours, theirs) = pair();
    let (nonce, sealed) = sender(&ours, 0).seal_data(b"secret").unwrap();
    assert_eq!(theirs.open_data("ada", 0, nonce, &sealed), Some(b"secret".to_vec()));
    assert_eq!(theirs.open_data("ada", 1, nonce, &sealed), None);
    assert_eq!(theirs.open_data("ada", 0, nonce, &sealed[1..]), None);
    assert_eq!(theirs.open_data("ada", 0, nonce, &[]), None);
}

#[test]
fn nonces_are_not_used_twice() {
    let (keys, _) = pair();
    let mut encryptor = sender(&keys, 0);
    let nonces: std::collections::HashSet<_> = (0..500).map(|_| encryptor.seal_data(b"x").unwrap().0).collect();
    assert_eq!(nonces.len(), 500);
}

#[test]
fn pass_phrases_and_raw_keys_give_different_keys() {
    let slow = ring(0, None, Derivation::Pbkdf2);
    slow.set(None, 0, b"a key").unwrap();
    let sealed = sender(&slow, 0).seal(FrameKind::Opus, b"hello").unwrap();
    assert!(matches!(receiver(&slow).open(FrameKind::Opus, &sealed), Opened::Frame(_)));
    assert_eq!(receiver(&pair().0).open(FrameKind::Opus, &sealed), Opened::Dropped);
}
