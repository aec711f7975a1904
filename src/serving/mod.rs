//! From admitted rows to answers: admission, one fair queue for all tasks, the engine's own thread, and the pure
//! functions that turn logits into a prediction.
