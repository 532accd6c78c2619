"""What operators fill in. Services say whether it makes sense; forms only read it, and ask for what is missing."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _
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

from mm_frontend.language import current
from mm_lib.model.sites import MemberRole
from mm_lib.services.hosts import MAX_BANDWIDTH, MAX_CONNECTIONS
from mm_lib.services.mirrors import country_names
from mm_lib.services.site_passwords import MAX_OVERLAP_DAYS, OVERLAP

LARGEST_ASN = 4_294_967_295
KNOWN = [SelectChoice("", _("Not known")), SelectChoice("yes", _("Yes")), SelectChoice("no", _("No"))]
ROLES = [
    SelectChoice(MemberRole.VIEWER.value, _("Viewer: sees everything, changes nothing")),
    SelectChoice(MemberRole.ADMIN.value, _("Admin: changes the site, its hosts and members")),
    SelectChoice(MemberRole.OWNER.value, _("Owner: may also delete the site and make owners")),
]
LIFETIMES = [
    SelectChoice("30", _("After 30 days")),
    SelectChoice("90", _("After 90 days")),
    SelectChoice("365", _("After a year")),
    SelectChoice("0", _("When it is revoked")),
]


def required(what: str) -> InputRequired:
    """The field must be filled."""
    return InputRequired(f"Enter {what}.")


class ConfirmForm(FlaskForm):  # type: ignore[misc]
    """Only a button."""


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password for a site's check-ins."""

    days = IntegerField(
        _("Days that the one before works on"),
        [
            InputRequired(_("Enter a number of days.")),
            NumberRange(0, MAX_OVERLAP_DAYS, _("Enter 0 to %(most)s days.", most=MAX_OVERLAP_DAYS)),
        ],
        default=OVERLAP.days,
        description=_("Time to bring the new one to all mirrors. 0: it ends at once, as after a theft."),
    )


class SiteForm(FlaskForm):  # type: ignore[misc]
    """An organisation."""

    name = StringField(
        _("Name"),
        [InputRequired(_("Enter a name.")), Length(max=255)],
        description=_("As people know the organisation."),
    )
    org_url = StringField(
        _("Web address"),
        [InputRequired(_("Enter a web address.")), Length(max=1000)],
        description=_("The organisation's own pages."),
    )
    private = BooleanField(
        _("Private"),
        description=_(
            "None of its hosts is shown to the public. Changing this forgets which directories are up to date."
        ),
    )
    all_sites_can_pull = BooleanField(
        _("All sites may pull from us"), description=_("Other mirrors may copy from your hosts without asking.")
    )
    downstream_comments = TextAreaField(
        _("For downstream mirrors"), [Length(max=2000)], description=_("What those who copy from you should know.")
    )
    weekly_report = BooleanField(
        _("Weekly report"),
        description=_("Owners and administrators of the site get a mail each week: what it served, and what to fix."),
    )


class HostForm(FlaskForm):  # type: ignore[misc]
    """A mirror server."""

    name = StringField(
        _("Name"),
        [InputRequired(_("Enter a name.")), Length(max=255)],
        description=_("As users see it, usually the DNS name."),
    )
    country = SelectField(
        _("Country"), [InputRequired(_("Enter the country where it stands."))], description=_("Where it stands.")
    )
    bandwidth_mbps = IntegerField(
        _("Bandwidth in Mbit/s"),
        [
            InputRequired(_("Enter the bandwidth in Mbit/s.")),
            NumberRange(1, MAX_BANDWIDTH, _("Enter 1 to 1,000,000 Mbit/s.")),
        ],
        description=_("Hosts with more bandwidth are handed out more often."),
    )
    max_connections = IntegerField(
        _("Connections per client"),
        [InputRequired(_("Enter a number of connections.")), NumberRange(1, MAX_CONNECTIONS, _("Enter 1 to 1000."))],
        default=1,
        description=_("How many at once a client may open."),
    )
    private = BooleanField(
        _("Private"),
        description=_("Served only to its own networks. Changing this forgets which directories are up to date."),
    )
    crawl_private = BooleanField(
        _("May be asked although private"), description=_("Without this, a private host checks in.")
    )
    asn = IntegerField(
        _("Its autonomous system"),
        [Optional(), NumberRange(1, LARGEST_ASN, _("Enter 1 to 4,294,967,295."))],
        description=_("Number of the network that it stands in, for example 64500."),
    )
    asn_clients = BooleanField(
        _("Preferred for clients of its autonomous system"), default=True, description=_("They get this host first.")
    )
    has_ipv4 = SelectField(_("Reached by IPv4"), choices=KNOWN, validate_choice=False)
    has_ipv6 = SelectField(_("Reached by IPv6"), choices=KNOWN, validate_choice=False)
    latitude = FloatField(
        _("Latitude"), [Optional(), NumberRange(-90, 90, _("Enter -90 to 90."))], description=_("In degrees.")
    )
    longitude = FloatField(_("Longitude"), [Optional(), NumberRange(-180, 180, _("Enter -180 to 180."))])
    comment = TextAreaField(_("Public comment"), [Length(max=2000)], description=_("Stands in the list of mirrors."))
    robot_email = StringField(_("Mailbox for messages by programs"), [Length(max=255)])

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        names = sorted(country_names(current()).items(), key=lambda item: item[1])
        self.country.choices = [
            SelectChoice("", _("Choose a country")),
            *(SelectChoice(code, f"{name} ({code})") for code, name in names),
        ]

    def validate_longitude(self, _field: FloatField) -> None:
        """Half of a place is no place."""
        if (self.latitude.data is None) != (self.longitude.data is None):
            raise ValidationError(_("Enter both latitude and longitude, or neither."))


class SwitchForm(FlaskForm):  # type: ignore[misc]
    """On or off, and why."""

    wanted = HiddenField(validators=[AnyOf(("on", "off"), _("Open this page again: the form does not say on or off."))])
    reason = StringField(
        _("Reason"), [InputRequired(_("Enter a reason.")), Length(max=500)], description=_("The site's members see it.")
    )


class MemberForm(FlaskForm):  # type: ignore[misc]
    """Somebody who is to speak for a site."""

    who = StringField(
        _("User name or e-mail address"),
        [InputRequired(_("Enter a user name or an e-mail address.")), Length(max=255)],
        description=_("Somebody without an account gets an invitation by mail."),
    )
    role = SelectField(_("Role"), choices=ROLES, default=MemberRole.ADMIN.value)


class RoleForm(FlaskForm):  # type: ignore[misc]
    """Another role."""

    role = SelectField(_("Role"), choices=ROLES)


class TransferForm(FlaskForm):  # type: ignore[misc]
    """Who becomes the owner."""

    to = SelectField(_("New owner"), [InputRequired(_("Enter who becomes the owner."))], coerce=int)


class JoinForm(FlaskForm):  # type: ignore[misc]
    """Somebody who would like to be let in."""

    site = StringField(_("Site"), [InputRequired(_("Enter the name of the site.")), Length(max=255)])
    message = TextAreaField(_("Message"), [Length(max=500)], description=_("Who you are. The site's members read it."))


class NetblockForm(FlaskForm):  # type: ignore[misc]
    """A network."""

    netblock = StringField(
        _("Network"),
        [InputRequired(_("Enter a network.")), Length(max=255)],
        description=_("As 192.0.2.0/24, 2001:db8::/32, or a DNS name that has addresses."),
    )
    name = StringField(_("Name"), [Length(max=255)], description=_("What you call it."))


class AsnForm(FlaskForm):  # type: ignore[misc]
    """Another autonomous system."""

    asn = IntegerField(
        _("Number"), [InputRequired(_("Enter a number.")), NumberRange(1, LARGEST_ASN, _("Enter 1 to 4,294,967,295."))]
    )
    name = StringField(_("Name"), [Length(max=255)])


class NameForm(FlaskForm):  # type: ignore[misc]
    """What it is called."""

    name = StringField(_("Name"), [Length(max=255)])


class CountryForm(FlaskForm):  # type: ignore[misc]
    """A country besides the one that the host stands in."""

    country = StringField(
        _("Country"),
        [InputRequired(_("Enter a country.")), Length(max=2)],
        description=_("Its code of two letters, as FR."),
    )
    kind = SelectField(
        _("What for"),
        choices=[
            SelectChoice("allowed", _("Serve clients of the allowed countries only")),
            SelectChoice("extra", _("Count as a mirror of this country, too")),
        ],
    )


class AclForm(FlaskForm):  # type: ignore[misc]
    """Who may pull from the master."""

    address = StringField(
        _("Address"),
        [InputRequired(_("Enter an address.")), Length(max=255)],
        description=_("IP address or DNS name of the machine."),
    )


class CategoryForm(FlaskForm):  # type: ignore[misc]
    """What a host carries."""

    category_id = SelectField(_("Category"), coerce=int, validate_choice=True)
    always_up_to_date = BooleanField(
        _("Always up to date"), description=_("A master or a cache: served without being asked.")
    )


class CategoryEditForm(FlaskForm):  # type: ignore[misc]
    """How a category is treated."""

    always_up_to_date = CategoryForm.always_up_to_date


class UrlForm(FlaskForm):  # type: ignore[misc]
    """Where a category is."""

    url = StringField(
        _("Address"),
        [InputRequired(_("Enter an address.")), Length(max=1000)],
        description=_("Of the category's top directory: https, http, rsync or ftp."),
    )
    private = BooleanField(_("Private"), description=_("For other mirrors and the crawler; never shown or handed out."))


class TokenForm(FlaskForm):  # type: ignore[misc]
    """A token for a program."""

    name = StringField(
        _("Name"),
        [InputRequired(_("Enter a name.")), Length(max=255)],
        description=_("What it is for, as: nightly job."),
    )
    scopes = SelectMultipleField(_("What it may do"), widget=ListWidget(), option_widget=CheckboxInput())
    days = SelectField(_("Ends"), choices=LIFETIMES, coerce=int, default=90)


class MaintenanceForm(FlaskForm):  # type: ignore[misc]
    """When a host is not to be handed out."""

    starts_at = DateTimeLocalField(
        _("From (UTC)"), [InputRequired(_("Enter when it starts."))], format="%Y-%m-%dT%H:%M"
    )
    ends_at = DateTimeLocalField(_("Until (UTC)"), [InputRequired(_("Enter when it ends."))], format="%Y-%m-%dT%H:%M")
    reason = StringField(_("Reason"), [Length(max=500)], description=_("For the site's members."))
