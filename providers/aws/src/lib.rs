//! Secrets from AWS Secrets Manager.
