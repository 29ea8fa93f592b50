//! Secrets from Google Cloud Secret Manager.
