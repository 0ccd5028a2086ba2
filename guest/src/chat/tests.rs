//! Chat templates against Jinja2, and against those who write hostile ones.

mod cases;
mod hostile;
