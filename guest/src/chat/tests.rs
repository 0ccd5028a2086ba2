//! Tests chat templates against Jinja2's output, and with hostile templates.

mod cases;
mod hostile;
