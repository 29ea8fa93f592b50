//! Stories that cross daemons, told through the command line and the edge of a real suite.

mod adapters;
mod bad_input;
mod canary;
mod chaos;
mod claude;
mod compose;
mod docker;
mod documents;
mod drill;
mod files;
mod hygiene;
mod kills;
mod logins;
mod main_job;
mod mcp;
mod onboarding;
mod refusals;
mod rotation;
mod rotation_broken;
mod rotation_commands;
mod rotation_down;
mod rotation_leaked;
mod rotation_load;
mod rotation_order;
mod schedules;
mod stores;
