//! Header extensions that are carried through without being understood, and the translation of all others.

use std::fmt;
use std::sync::Arc;

use str0m::media::MediaTime;
use str0m::rtp::{AbsCaptureTime, Extension, ExtensionMap, ExtensionSerializer, ExtensionValues, VideoOrientation};

use crate::negotiation::COLOR_SPACE_ALIAS;
use crate::{CaptureTime, Extensions, PlayoutDelay};

const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
const LAYERS_ALLOCATION: &str = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00";

/// The longest value that fits the one-byte form of header extensions.
const ONE_BYTE_LIMIT: usize = 16;

/// The values of one uninterpreted extension. Each kind is a type of its own, since values are kept by type.
trait Raw: fmt::Debug + Send + Sync + 'static {
    fn wrap(bytes: Arc<[u8]>) -> Self;
    fn bytes(&self) -> &Arc<[u8]>;
}

macro_rules! raw {
    ($($name:ident),*) => {$(
        #[derive(Debug)]
        struct $name(Arc<[u8]>);

        impl Raw for $name {
            fn wrap(bytes: Arc<[u8]>) -> Self {
                $name(bytes)
            }

            fn bytes(&self) -> &Arc<[u8]> {
                &self.0
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
    fn write_to(&self, buffer: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(value) = values.user_values.get::<T>() else {
            return 0;
        };
        let bytes = value.bytes();
        match buffer.get_mut(..bytes.len()) {
            Some(target) if bytes.len() <= usize::from(u8::MAX) => {
                target.copy_from_slice(bytes);
                bytes.len()
            }
            _ => 0,
        }
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

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        values.user_values.get::<T>().is_some_and(|value| value.bytes().len() > ONE_BYTE_LIMIT)
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

pub(crate) fn to_values(extensions: Extensions) -> ExtensionValues {
    let mut values = ExtensionValues {
        audio_level: extensions.audio_level.map(|level| -(level.min(127) as i8)),
        voice_activity: extensions.audio_level.map(|_| extensions.voice_activity.unwrap_or(false)),
        abs_capture_time: extensions
            .capture_time
            .map(|value| AbsCaptureTime { capture_time: value.time, clock_offset: value.offset }),
        video_orientation: extensions.orientation.map(VideoOrientation::from),
        play_delay_min: extensions.playout_delay.map(|delay| MediaTime::from_hundredths(delay.min.into())),
        play_delay_max: extensions.playout_delay.map(|delay| MediaTime::from_hundredths(delay.max.into())),
        video_content_type: extensions.content_type,
        ..ExtensionValues::default()
    };
    if let Some(bytes) = extensions.color_space {
        values.user_values.set(ColorSpace(bytes));
    }
    if let Some(bytes) = extensions.dependency_descriptor {
        values.user_values.set(DependencyDescriptor(bytes));
    }
    if let Some(bytes) = extensions.layers_allocation {
        values.user_values.set(LayersAllocation(bytes));
    }
    values
}

fn twelve_bits(value: u64) -> u16 {
    (value & 0xfff) as u16
}
