"""What takes the steps: torch's autograd, a stack of members, or our own kernel."""
