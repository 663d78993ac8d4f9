"""The networks: `Model(in_shape, out_features, *, architecture…)`, raw outputs, no softmax."""
