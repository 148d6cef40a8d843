"""For developers: pinning, auditing, the matrix of environments, and training the demo model."""
