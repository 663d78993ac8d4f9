"""The engines that take optimizer steps: autograd, stacked members, the native kernel."""
