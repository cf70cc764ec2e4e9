"""Training images -> a trained generator: protocol, registry, training, storage."""
