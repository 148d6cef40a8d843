"""What hypernetworks cost on this machine; see docs/performance.md. Run `python -m benchmarks`."""
