//! Every metric, a documented line each.
