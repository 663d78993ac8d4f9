"""Multilayer perceptrons trained by a small C++ kernel, a whole epoch in one call."""
