//! Builds the server from its settings and runs it to its end.
