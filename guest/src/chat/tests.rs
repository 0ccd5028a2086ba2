//! Tests chat templates against Jinja2's output, with hostile templates, and with hostile conversations.

mod cases;
mod families;
mod hostile;
mod origins;
mod prompts;
