//! Header extensions of what arrives: those that are carried through without being understood, and all others.

use std::fmt;
use std::sync::Arc;

use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

pub(crate) use crate::negotiation::COLOR_SPACE_ALIAS;
use crate::{CaptureTime, Extensions, PlayoutDelay};

pub(crate) const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
pub(crate) const LAYERS_ALLOCATION: &str = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00";

/// The values of one uninterpreted extension. Each kind is a type of its own, since values are kept by type.
trait Raw: fmt::Debug + Send + Sync + 'static {
    fn wrap(bytes: Arc<[u8]>) -> Self;
}

macro_rules! raw {
    ($($name:ident),*) => {$(
        #[derive(Debug)]
        struct $name(Arc<[u8]>);

        impl Raw for $name {
            fn wrap(bytes: Arc<[u8]>) -> Self {
                $name(bytes)
            }
        }
    )*};
}

raw!(ColorSpace, DependencyDescriptor, LayersAllocation);

#[derive(Debug)]
struct Serializer<T>(std::marker::PhantomData<fn() -> T>);

impl<T: Raw> Serializer<T> {
    fn extension(uri: &str) -> Extension {
        Extension::with_serializer(uri, Serializer::<T>(std::marker::PhantomData))
    }
}

impl<T: Raw> ExtensionSerializer for Serializer<T> {
    /// What is sent does not pass through the library.
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, buffer: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(T::wrap(buffer.into()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

/// Everything that is negotiated, in every section of its kind, under the numbers that browsers use.
pub(crate) fn map() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(1, Extension::AudioLevel);
    map.set(2, Extension::AbsoluteSendTime);
    map.set(3, Extension::TransportSequenceNumber);
    map.set(4, Extension::RtpMid);
    map.set(5, Extension::PlayoutDelay);
    map.set(6, Extension::VideoContentType);
    map.set(7, Extension::AbsoluteCaptureTime);
    map.set(8, Serializer::<ColorSpace>::extension(COLOR_SPACE_ALIAS));
    map.set(9, Serializer::<LayersAllocation>::extension(LAYERS_ALLOCATION));
    map.set(10, Extension::RtpStreamId);
    map.set(11, Extension::RepairedRtpStreamId);
    map.set(12, Serializer::<DependencyDescriptor>::extension(DEPENDENCY_DESCRIPTOR));
    map.set(13, Extension::VideoOrientation);
    map
}

pub(crate) fn from_values(values: &ExtensionValues) -> Extensions {
    let user = &values.user_values;
    let playout_delay = values.play_delay_min.zip(values.play_delay_max);
    Extensions {
        audio_level: values.audio_level.map(i8::unsigned_abs),
        voice_activity: values.voice_activity,
        capture_time: values
            .abs_capture_time
            .as_ref()
            .map(|value| CaptureTime { time: value.capture_time, offset: value.clock_offset }),
        orientation: values.video_orientation.map(|value| value as u8),
        playout_delay: playout_delay
            .map(|(min, max)| PlayoutDelay { min: twelve_bits(min.numer()), max: twelve_bits(max.numer()) }),
        content_type: values.video_content_type,
        color_space: user.get::<ColorSpace>().map(|value| value.0.clone()),
        dependency_descriptor: user.get::<DependencyDescriptor>().map(|value| value.0.clone()),
        layers_allocation: user.get::<LayersAllocation>().map(|value| value.0.clone()),
    }
}

fn twelve_bits(value: u64) -> u16 {
    (value & 0xfff) as u16
}
