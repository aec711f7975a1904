//! Checked settings of the server, by concern, units in their names.
