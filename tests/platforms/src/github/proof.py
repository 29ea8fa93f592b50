"""Authlib logs somebody in, as it does at GitHub."""

import sys

import requests
from authlib.integrations.requests_client import OAuth2Session, OAuthError

base, api, client, secret = sys.argv[1:]
back = "https://a.example/auth/callback/github"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def session(secret=secret):
    return OAuth2Session(
        client,
        secret,
        scope="read:org",
        redirect_uri=back,
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_post",
    )


def answer(one):
    url, state = one.create_authorization_url(
        base + "/login/oauth/authorize", code_verifier=VERIFIER
    )
    came = requests.get(url, allow_redirects=False)
    assert came.status_code == 302, came.status_code
    return came.headers["location"], state


def fetch(one, came, verifier=VERIFIER):
    location, state = came
    return one.fetch_token(
        base + "/login/oauth/access_token",
        authorization_response=location,
        state=state,
        code_verifier=verifier,
    )


def refused(error, *args):
    try:
        fetch(*args)
    except OAuthError as said:
        assert said.error == error, said
        return
    raise AssertionError("not refused: " + error)


good = session()
came = answer(good)
token = fetch(good, came)
assert token["token_type"] == "bearer" and token["scope"] == "read:org", token
user = good.get(api + "/user").json()
assert user["id"] == 583231 and user["login"] == "octocat", user
rows = good.get(api + "/user/memberships/orgs?state=active").json()
assert [row["organization"]["login"] for row in rows] == ["github"], rows
refused("bad_verification_code", session(), came)
refused("bad_verification_code", session(), answer(session()), VERIFIER[::-1])
refused("incorrect_client_credentials", session("other"), answer(session()))
assert requests.get(api + "/user").status_code == 401
