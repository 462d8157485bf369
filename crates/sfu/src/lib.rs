//! One room's forwarding, sans-IO.
