"""The channels over which notifications go, each by one of Airflow's own notifiers: e-mail, Amazon SNS, a webhook.

The option ``channels`` of the section ``[callmood]`` names them, separated by commas: ``smtp:ops@example.com``,
``sns:arn:aws:sns:eu-central-1:123456789012:callmood``, ``webhook:connection_id``; a severity before one, as in
``page sns:...``, says from which on the channel is used. Secrets stand in Airflow's connections alone:
``smtp_default``, ``aws_default``, and the one that a webhook names. Knows nothing of what is said.
"""

from __future__ import annotations

import html
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier

SEVERITIES = ("note", "ticket", "page")
KINDS = ("smtp", "sns", "webhook")
TRIES, WAIT_S = 3, 5.0

log = logging.getLogger("callmood.channels")


@dataclass(frozen=True)
class Notification:
    """Something to be said: its severity, a line, what there is to say, and an HTML page that goes with it.

    Only e-mails take the page along; the body says where it is.
    """

    severity: str
    title: str
    body: str
    page_name: str | None = None
    page: str | None = None


@dataclass(frozen=True)
class Channel:
    """A channel: its kind, to what it sends, and the least severity that it is for."""

    kind: str
    target: str
    at_least: str = SEVERITIES[0]

    @property
    def name(self) -> str:
        """By which what it has sent is remembered."""
        return f"{self.kind}:{self.target}"

    def takes(self, severity: str) -> bool:
        """Whether it is for what is so severe."""
        return SEVERITIES.index(severity) >= SEVERITIES.index(self.at_least)


def read_channels(text: str) -> tuple[Channel, ...]:
    """Read the option ``channels``.

    Raises
    ------
    ValueError
        Names what is no channel.
    """
    return tuple(_channel(part) for part in map(str.strip, text.split(",")) if part)


def _channel(text: str) -> Channel:
    at_least, _, rest = text.rpartition(" ")
    kind, colon, target = rest.partition(":")
    at_least = at_least.strip() or SEVERITIES[0]
    if kind not in KINDS or not colon or not target or at_least not in SEVERITIES:
        raise ValueError(
            f"channels: {text!r} is none; expected smtp:ADDRESS, sns:TOPIC_ARN or webhook:CONNECTION_ID, "
            f"with {', '.join(SEVERITIES)} or nothing before it (docs/alerts.md)"
        )
    return Channel(kind, target, at_least)


class NotSent(AirflowException):
    """A notification did not get through."""


def send(notification: Notification, channel: Channel, *, tries: int = TRIES, wait_s: float = WAIT_S) -> None:
    """Send a notification over a channel; what fails is logged and tried again.

    Raises
    ------
    NotSent
        Where it did not get through. What the channel's own error says may hold a secret (a webhook's address is one):
        only its type is told.
    """
    for tried in range(1, tries + 1):
        try:
            # With its files gone when it returns; ``notify`` and not a call: a call reads templates in the text.
            with tempfile.TemporaryDirectory() as folder:
                _notifier(notification, channel, Path(folder)).notify({})
        except Exception as error:  # whatever it is, the night goes on
            log.warning("try %d of %d over %s failed: %s", tried, tries, channel.kind, type(error).__name__)
            if tried == tries:
                raise NotSent(
                    f"a {notification.severity} could not be sent over {channel.kind}: {type(error).__name__}; look at "
                    "the channel's connection and target"
                ) from None
            time.sleep(wait_s * tried)
        else:
            log.info("a %s was sent over %s", notification.severity, channel.kind)
            return


def _notifier(notification: Notification, channel: Channel, folder: Path) -> BaseNotifier:
    # Each provider is imported when it is needed: DAGs are parsed often.
    subject = f"[Callmood, {notification.severity}] {notification.title}"
    if channel.kind == "smtp":
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        files = []
        if notification.page is not None and notification.page_name is not None:
            (file := folder / notification.page_name).write_text(notification.page, encoding="utf-8")
            files.append(str(file))
        text = f'<pre style="white-space: pre-wrap; font: inherit">{html.escape(notification.body)}</pre>'
        return SmtpNotifier(to=channel.target, subject=subject, html_content=text, files=files)
    if channel.kind == "sns":
        from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

        # A topic's subject is ASCII, a line of under 100 characters.
        line = subject.encode("ascii", "replace").decode()[:99]
        region = channel.target.split(":")[3] if channel.target.count(":") >= 5 else None
        return SnsNotifier(target_arn=channel.target, subject=line, message=notification.body, region_name=region)
    from airflow.providers.http.notifications.http import HttpNotifier

    said = {
        "severity": notification.severity,
        "title": notification.title,
        "body": notification.body,
        # What chat systems' webhooks show.
        "text": f"{subject}\n{notification.body}",
    }
    return HttpNotifier(http_conn_id=channel.target, json=said, extra_options={"timeout": 30})
