"""Gives the same requests to slack_bolt, the official library for receivers, and to slakd: both must answer alike."""

import json
import sys
import time
import urllib.error
import urllib.request

from slack_bolt import App, BoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.signature import SignatureVerifier

url, secret = sys.argv[1:]


def authorize(**_):
    return AuthorizeResult(enterprise_id=None, team_id="T1", bot_token="xoxb-x", bot_id="B9", bot_user_id="U9")


bolt = App(signing_secret=secret, authorize=authorize, process_before_response=True)
bolt.event("message")(lambda: None)


def of_bolt(body, headers):
    request = BoltRequest(body=body.decode(), headers={**headers, "content-type": "application/json"})
    return bolt.dispatch(request).status


def of_slakd(body, headers):
    request = urllib.request.Request(url, data=body, headers={**headers, "content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as failure:
        return failure.code


def signed(body, key=secret, age=0):
    at = str(int(time.time()) - age)
    signature = SignatureVerifier(key).generate_signature(timestamp=at, body=body)
    return {"x-slack-request-timestamp": at, "x-slack-signature": signature}


event = {"type": "message", "channel": "C1", "user": "U1", "text": "from the oracle", "ts": "1700000000.000100"}
outer = {"type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": "EvOracle", "event": event,
         "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}]}
body = json.dumps(outer).encode()
other = json.dumps({**outer, "event_id": "EvOther", "event": {**event, "ts": "1700000000.000200"}}).encode()
verification = json.dumps({"type": "url_verification", "challenge": "abc", "token": "x"}).encode()
cases = {
    "good": (body, signed(body), 200),
    "good again": (body, {**signed(body), "x-slack-retry-num": "1"}, 200),
    "verification": (verification, signed(verification), 200),
    "290 seconds old": (verification, signed(verification, age=290), 200),
    "400 seconds old": (other, signed(other, age=400), 401),
    "400 seconds ahead": (other, signed(other, age=-400), 401),
    "another secret": (other, signed(other, key="another-signing-secret"), 401),
    "a changed body": (other + b" ", signed(other), 401),
    "no signature": (other, {}, 401),
    "half a signature": (other, {**signed(other), "x-slack-signature": "v0=ab"}, 401),
    "an unsigned verification": (verification, {}, 401),
}
for name, (sent, headers, expected) in cases.items():
    theirs, ours = of_bolt(sent, headers), of_slakd(sent, headers)
    assert theirs == expected, f"{name}: slack_bolt answers {theirs}"
    assert ours == expected, f"{name}: slakd answers {ours}, slack_bolt {theirs}"
