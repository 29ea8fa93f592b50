//! URLs that name secrets, and URLs that do not.

use super::*;

fn of_a_pod() -> Ambient {
    Ambient::of(|name| {
        let value = match name {
            "AWS_ROLE_ARN" => "arn:aws:iam::123456789012:role/pod",
            "AWS_WEB_IDENTITY_TOKEN_FILE" => {
                "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
            }
            "AWS_CONTAINER_CREDENTIALS_FULL_URI" => "http://169.254.170.23/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" => {
                "/var/run/secrets/pods.eks.amazonaws.com/token"
            }
            _ => return None,
        };
        Some(value.to_owned())
    })
}

fn reason(text: &str, ambient: &Ambient) -> String {
    match Address::parse(text, ambient) {
        Ok(address) => panic!("{text} was taken as {address:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_url_names_secrets_and_a_pod_knows_who_it_is() {
    let address = Address::parse("aws-sm://eu-west-1/team/arizuko", &of_a_pod()).unwrap();
    assert_eq!(address.place, Place::Object("team/arizuko".into()));
    let Auth::Irsa { role, token_file, session } = &address.auth else { panic!("{address:?}") };
    assert!(role.ends_with(":role/pod") && session == "arizuko");
    assert!(token_file.ends_with("serviceaccount/token"));
    assert_eq!(address.to_string(), "aws-sm://eu-west-1/team/arizuko");
    assert_eq!((address.endpoint, address.calls_per_hour), (None, 1_800));

    let text = "aws-sm://cn-north-1/team/*?auth=pod-identity&calls_per_hour=600";
    let address = Address::parse(text, &of_a_pod()).unwrap();
    assert_eq!(address.place, Place::Prefix("team".into()));
    assert!(
        matches!(&address.auth, Auth::PodIdentity { uri, .. } if uri.path() == "/v1/credentials")
    );
    assert_eq!(address.to_string(), "aws-sm://cn-north-1/team/*");

    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/arizuko-AbCdEf";
    let text = format!("aws-sm://eu-west-1/{arn}?auth=static&credentials_file=/c");
    let address = Address::parse(&text, &Ambient::default()).unwrap();
    assert_eq!(address.place, Place::Object(arn.into()));

    let text = "aws-sm://us-gov-west-1/az?role=arn:aws-us-gov:iam::1:role/r&token_file=/t&session=az1\
                &sts_endpoint=https://sts.example/&endpoint=http://127.0.0.1:5000&fips=yes\
                &queue=https://sqs.us-gov-west-1.amazonaws.com/1/q&ca_file=/ca";
    let address = Address::parse(text, &of_a_pod()).unwrap();
    let Auth::Irsa { role, token_file, session } = &address.auth else { panic!("{address:?}") };
    assert_eq!((role.as_str(), session.as_str()), ("arn:aws-us-gov:iam::1:role/r", "az1"));
    assert!(
        address.use_fips && token_file == &PathBuf::from("/t"),
        "what the URL says comes first"
    );
    assert_eq!(address.endpoint.as_deref(), Some("http://127.0.0.1:5000"));
    assert_eq!(address.sts_endpoint.as_deref(), Some("https://sts.example"));
}

#[test]
fn what_would_be_without_effect_or_unsafe_is_refused_with_what_would_do() {
    let key = "auth=static&credentials_file=/c";
    let cases = [
        ("aws-sm://eu-west-1/az", "needs role=, or AWS_ROLE_ARN"),
        (
            "aws-sm://eu-west-1/az?role=arn:aws:iam::1:role/r",
            "needs token_file=, or AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        ("aws-sm://eu-west-1/az?role=r&token_file=/t", "the ARN of a role"),
        ("aws-sm://eu-west-1/az?role=arn:aws:iam::1:role/r&token_file=t", "absolute path"),
        (
            "aws-sm://eu-west-1/az?role=arn:aws:iam::1:role/r&token_file=/t&session=a%20b",
            "session=",
        ),
        (
            "aws-sm://eu-west-1/az?auth=pod-identity",
            "needs token_file=, or AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ),
        (
            "aws-sm://eu-west-1/az?auth=pod-identity&token_file=/t",
            "needs AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
        ("aws-sm://eu-west-1/az?auth=static", "needs credentials_file="),
        ("aws-sm://eu-west-1/az?auth=keys", "expected auth=irsa, pod-identity, static or default"),
        ("aws-sm://eu-west-1/az?auth=default&role=r", "role= has no effect with auth=default"),
        ("aws-sm://eu-west-1/az?rolle=r", "rolle= means nothing here"),
        ("aws-sm://eu-west-1?auth=default", "the name of a secret"),
        ("aws-sm://eu-west-1/?auth=default", "the name of a secret"),
        ("aws-sm://eu-west-1/a%20b?auth=default", "the name of a secret"),
        ("aws-sm://eu-west-1/a//b?auth=default", "the name of a secret"),
        ("aws-sm://eu-west-1/a*?auth=default", "the name of a secret"),
        ("aws-sm://eu-west-1/*?auth=default", "the name of a secret"),
        ("aws-sm://EU/az?auth=default", "the region"),
        ("aws-sm://u:p@eu-west-1/az?auth=default", "no place in it"),
        ("aws-sm://eu-west-1:8/az?auth=default", "no place in it"),
        ("aws://eu-west-1/az?auth=default", "expected aws-sm://"),
        (
            "aws-sm://eu-west-1/az?auth=default&endpoint=http://sm.example",
            "unencrypted to endpoint=",
        ),
        (
            "aws-sm://eu-west-1/az?auth=default&queue=http://sqs.example/1/q",
            "unencrypted to queue=",
        ),
        ("aws-sm://eu-west-1/az?auth=default&endpoint=https://sm.example/path", "without a path"),
        ("aws-sm://eu-west-1/az?auth=default&queue=https://sqs.example", "the URL of an SQS queue"),
        ("aws-sm://eu-west-1/az?auth=default&fips=no", "fips= is yes"),
        ("aws-sm://eu-west-1/az?auth=default&calls_per_hour=59", "at least 60"),
    ];
    for (text, expected) in cases {
        let reason = reason(text, &Ambient::default());
        assert!(reason.contains(expected), "{text}: {reason}");
    }
    let text = format!("aws-sm://eu-west-1/az?{key}&plaintext=yes&endpoint=http://sm.example");
    assert!(Address::parse(&text, &Ambient::default()).is_ok());
}

#[test]
fn the_token_of_a_pod_goes_to_the_agent_on_its_node_or_over_tls() {
    let at = |uri: &str| {
        let ambient = Ambient { container_credentials_uri: Some(uri.into()), ..of_a_pod() };
        Address::parse("aws-sm://eu-west-1/az?auth=pod-identity", &ambient)
    };
    for uri in [
        "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::23]/v1/credentials",
        "http://127.0.0.1:1338/v1",
        "https://agent.example/v1",
    ] {
        assert!(at(uri).is_ok(), "{uri}");
    }
    for uri in [
        "http://169.254.169.254/v1",
        "http://10.0.0.1/",
        "http://evil.example/",
        "ftp://127.0.0.1/",
        "x",
    ] {
        assert!(at(uri).is_err(), "{uri} would be shown the token");
    }
}
