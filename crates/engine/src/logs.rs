//! Log lines of the engine, and of the libraries under it, until Python fetches them.
//!
//! Whoever sends bad packets must not fill a disk: a place in the code gets a few lines per minute.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{LazyLock, Mutex, Once};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::callsite::Identifier;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::events::lock;

/// Lines kept for a process that does not fetch them; a flood loses the oldest.
const KEPT: usize = 256;

/// Lines that one place in the code gets per [`PERIOD`].
const PER_PLACE: u32 = 3;
const PERIOD: Duration = Duration::from_secs(60);

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Collect warnings and errors from now on.
pub(crate) fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_timer(NoTime)
            .with_writer(Collector)
            .finish();
        // Where a program has a subscriber of its own, that one gets the lines.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
}

/// Take the lines, oldest first: level, target and message in each.
pub(crate) fn take_logs() -> Vec<String> {
    lock(&LINES).drain(..).collect()
}

struct NoTime;

impl FormatTime for NoTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str("")
    }
}

struct Collector;

impl<'a> MakeWriter<'a> for Collector {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { text: Vec::new(), left_out: Some(0) }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line { text: Vec::new(), left_out: lock(&PLACES).entry(meta.callsite()).or_default().admit(Instant::now()) }
    }
}

static PLACES: LazyLock<Mutex<HashMap<Identifier, Place>>> = LazyLock::new(Mutex::default);

/// A place in the code that logs.
#[derive(Default)]
struct Place {
    since: Option<Instant>,
    lines: u32,
    left_out: u32,
}

impl Place {
    /// None when this line is left out; otherwise how many were since the last one that was not.
    fn admit(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            self.since = Some(now);
            self.lines = 0;
        }
        if self.lines == PER_PLACE {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// One line while it is being written, unless it is left out.
struct Line {
    text: Vec<u8>,
    left_out: Option<u32>,
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left_out.is_some() {
            self.text.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(left_out) = self.left_out else {
            return;
        };
        let mut text = String::from_utf8_lossy(&self.text).trim().to_owned();
        if left_out > 0 {
            text.push_str(&format!(" ({left_out} like this were left out)"));
        }
        let mut lines = lock(&LINES);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_few_lines_and_their_number() {
        let mut place = Place::default();
        let begin = Instant::now();
        let admitted = (0..1000).filter(|_| place.admit(begin).is_some()).count();
        assert_eq!(admitted, PER_PLACE as usize);
        assert_eq!(place.admit(begin + PERIOD), Some(1000 - PER_PLACE));
        assert_eq!(place.admit(begin + PERIOD), Some(0));
    }
}
