//! Naive models of the machines: short enough to be believed by reading them.
