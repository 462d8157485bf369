//! Threads, sockets, clocks and queues.
