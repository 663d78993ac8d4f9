"""The networks: `Model(in_shape, out_features, *, architecture…)`; outputs are raw, no softmax."""
