//! Log lines of the engine, and of the libraries under it, until Python fetches them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, Once};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::events::lock;

/// Lines kept for a process that does not fetch them; a flood loses the oldest.
const KEPT: usize = 256;

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
        Line(Vec::new())
    }
}

/// One line while it is being written.
struct Line(Vec<u8>);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0).trim().to_owned();
        let mut lines = lock(&LINES);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}
