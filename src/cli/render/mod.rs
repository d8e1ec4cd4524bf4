//! Results for people and programs; one file a thing that is shown.
