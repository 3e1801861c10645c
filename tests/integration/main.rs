//! Stories and rules that need more than one module. One binary, so that there is one link step.
//!
//! | file | what it holds |
//! |---|---|
//! | `layers` | no module imports what lies above or beside it |

mod layers;
