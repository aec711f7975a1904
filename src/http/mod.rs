//! The HTTP face: routes, wire types, status codes. Nothing else imports it.
