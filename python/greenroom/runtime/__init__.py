"""Loops, tasks, clocks and sockets: what the machines leave to others."""
