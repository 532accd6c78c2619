"""What operators fill in. Services say whether it makes sense; forms only read it, and ask for what is missing."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateTimeLocalField,
    FloatField,
    HiddenField,
    IntegerField,
    SelectChoice,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import AnyOf, InputRequired, Length, NumberRange, Optional, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from mm_lib.model.sites import MemberRole
from mm_lib.services.hosts import MAX_BANDWIDTH, MAX_CONNECTIONS
from mm_lib.services.mirrors import country_names
from mm_lib.services.site_passwords import MAX_OVERLAP_DAYS, OVERLAP

LARGEST_ASN = 4_294_967_295
KNOWN = [SelectChoice("", "Not known"), SelectChoice("yes", "Yes"), SelectChoice("no", "No")]
ROLES = [
    SelectChoice(MemberRole.VIEWER.value, "Viewer: sees everything, changes nothing"),
    SelectChoice(MemberRole.ADMIN.value, "Admin: changes the site, its hosts and members"),
    SelectChoice(MemberRole.OWNER.value, "Owner: may also delete the site and make owners"),
]
LIFETIMES = [
    SelectChoice("30", "After 30 days"),
    SelectChoice("90", "After 90 days"),
    SelectChoice("365", "After a year"),
    SelectChoice("0", "When it is revoked"),
]


def required(what: str) -> InputRequired:
    """The field must be filled."""
    return InputRequired(f"Enter {what}.")


class ConfirmForm(FlaskForm):  # type: ignore[misc]
    """Only a button."""


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password for a site's check-ins."""

    days = IntegerField(
        "Days that the one before works on",
        [required("a number of days"), NumberRange(0, MAX_OVERLAP_DAYS, f"Enter 0 to {MAX_OVERLAP_DAYS} days.")],
        default=OVERLAP.days,
        description="Time to bring the new one to all mirrors. 0: it ends at once, as after a theft.",
    )


class SiteForm(FlaskForm):  # type: ignore[misc]
    """An organisation."""

    name = StringField("Name", [required("a name"), Length(max=255)], description="As people know the organisation.")
    org_url = StringField(
        "Web address", [required("a web address"), Length(max=1000)], description="The organisation's own pages."
    )
    private = BooleanField(
        "Private",
        description="None of its hosts is shown to the public. Changing this forgets which directories are up to date.",
    )
    all_sites_can_pull = BooleanField(
        "All sites may pull from us", description="Other mirrors may copy from your hosts without asking."
    )
    downstream_comments = TextAreaField(
        "For downstream mirrors", [Length(max=2000)], description="What those who copy from you should know."
    )


class HostForm(FlaskForm):  # type: ignore[misc]
    """A mirror server."""

    name = StringField(
        "Name", [required("a name"), Length(max=255)], description="As users see it, usually the DNS name."
    )
    country = SelectField("Country", [required("the country where it stands")], description="Where it stands.")
    bandwidth_mbps = IntegerField(
        "Bandwidth in Mbit/s",
        [required("the bandwidth in Mbit/s"), NumberRange(1, MAX_BANDWIDTH, "Enter 1 to 1,000,000 Mbit/s.")],
        description="Hosts with more bandwidth are handed out more often.",
    )
    max_connections = IntegerField(
        "Connections per client",
        [required("a number of connections"), NumberRange(1, MAX_CONNECTIONS, "Enter 1 to 1000.")],
        default=1,
        description="How many at once a client may open.",
    )
    private = BooleanField(
        "Private",
        description="Served only to its own networks. Changing this forgets which directories are up to date.",
    )
    crawl_private = BooleanField("May be asked although private", description="Without this, a private host checks in.")
    asn = IntegerField(
        "Its autonomous system",
        [Optional(), NumberRange(1, LARGEST_ASN, "Enter 1 to 4,294,967,295.")],
        description="Number of the network that it stands in, for example 64500.",
    )
    asn_clients = BooleanField(
        "Preferred for clients of its autonomous system", default=True, description="They get this host first."
    )
    has_ipv4 = SelectField("Reached by IPv4", choices=KNOWN, validate_choice=False)
    has_ipv6 = SelectField("Reached by IPv6", choices=KNOWN, validate_choice=False)
    latitude = FloatField("Latitude", [Optional(), NumberRange(-90, 90, "Enter -90 to 90.")], description="In degrees.")
    longitude = FloatField("Longitude", [Optional(), NumberRange(-180, 180, "Enter -180 to 180.")])
    comment = TextAreaField("Public comment", [Length(max=2000)], description="Stands in the list of mirrors.")
    robot_email = StringField("Mailbox for messages by programs", [Length(max=255)])

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        names = sorted(country_names().items(), key=lambda item: item[1])
        self.country.choices = [
            SelectChoice("", "Choose a country"),
            *(SelectChoice(code, f"{name} ({code})") for code, name in names),
        ]

    def validate_longitude(self, _field: FloatField) -> None:
        """Half of a place is no place."""
        if (self.latitude.data is None) != (self.longitude.data is None):
            raise ValidationError("Enter both latitude and longitude, or neither.")


class SwitchForm(FlaskForm):  # type: ignore[misc]
    """On or off, and why."""

    wanted = HiddenField(validators=[AnyOf(("on", "off"), "Open this page again: the form does not say on or off.")])
    reason = StringField("Reason", [required("a reason"), Length(max=500)], description="The site's members see it.")


class MemberForm(FlaskForm):  # type: ignore[misc]
    """Somebody who is to speak for a site."""

    who = StringField(
        "User name or e-mail address",
        [required("a user name or an e-mail address"), Length(max=255)],
        description="Somebody without an account gets an invitation by mail.",
    )
    role = SelectField("Role", choices=ROLES, default=MemberRole.ADMIN.value)


class RoleForm(FlaskForm):  # type: ignore[misc]
    """Another role."""

    role = SelectField("Role", choices=ROLES)


class TransferForm(FlaskForm):  # type: ignore[misc]
    """Who becomes the owner."""

    to = SelectField("New owner", [required("who becomes the owner")], coerce=int)


class JoinForm(FlaskForm):  # type: ignore[misc]
    """Somebody who would like to be let in."""

    site = StringField("Site", [required("the name of the site"), Length(max=255)])
    message = TextAreaField("Message", [Length(max=500)], description="Who you are. The site's members read it.")


class NetblockForm(FlaskForm):  # type: ignore[misc]
    """A network."""

    netblock = StringField(
        "Network",
        [required("a network"), Length(max=255)],
        description="As 192.0.2.0/24, 2001:db8::/32, or a DNS name that has addresses.",
    )
    name = StringField("Name", [Length(max=255)], description="What you call it.")


class AsnForm(FlaskForm):  # type: ignore[misc]
    """Another autonomous system."""

    asn = IntegerField("Number", [required("a number"), NumberRange(1, LARGEST_ASN, "Enter 1 to 4,294,967,295.")])
    name = StringField("Name", [Length(max=255)])


class NameForm(FlaskForm):  # type: ignore[misc]
    """What it is called."""

    name = StringField("Name", [Length(max=255)])


class CountryForm(FlaskForm):  # type: ignore[misc]
    """A country besides the one that the host stands in."""

    country = StringField(
        "Country", [required("a country"), Length(max=2)], description="Its code of two letters, as FR."
    )
    kind = SelectField(
        "What for",
        choices=[
            SelectChoice("allowed", "Serve clients of the allowed countries only"),
            SelectChoice("extra", "Count as a mirror of this country, too"),
        ],
    )


class AclForm(FlaskForm):  # type: ignore[misc]
    """Who may pull from the master."""

    address = StringField(
        "Address", [required("an address"), Length(max=255)], description="IP address or DNS name of the machine."
    )


class CategoryForm(FlaskForm):  # type: ignore[misc]
    """What a host carries."""

    category_id = SelectField("Category", coerce=int, validate_choice=True)
    always_up_to_date = BooleanField(
        "Always up to date", description="A master or a cache: served without being asked."
    )


class CategoryEditForm(FlaskForm):  # type: ignore[misc]
    """How a category is treated."""

    always_up_to_date = CategoryForm.always_up_to_date


class UrlForm(FlaskForm):  # type: ignore[misc]
    """Where a category is."""

    url = StringField(
        "Address",
        [required("an address"), Length(max=1000)],
        description="Of the category's top directory: https, http, rsync or ftp.",
    )
    private = BooleanField("Private", description="For other mirrors and the crawler; never shown or handed out.")


class TokenForm(FlaskForm):  # type: ignore[misc]
    """A token for a program."""

    name = StringField("Name", [required("a name"), Length(max=255)], description="What it is for, as: nightly job.")
    scopes = SelectMultipleField("What it may do", widget=ListWidget(), option_widget=CheckboxInput())
    days = SelectField("Ends", choices=LIFETIMES, coerce=int, default=90)


class MaintenanceForm(FlaskForm):  # type: ignore[misc]
    """When a host is not to be handed out."""

    starts_at = DateTimeLocalField("From (UTC)", [required("when it starts")], format="%Y-%m-%dT%H:%M")
    ends_at = DateTimeLocalField("Until (UTC)", [required("when it ends")], format="%Y-%m-%dT%H:%M")
    reason = StringField("Reason", [Length(max=500)], description="For the site's members.")
