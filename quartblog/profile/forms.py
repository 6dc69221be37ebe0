"""Request -> the validated fields of a profile edit."""

from typing import NamedTuple

from wtforms import TextAreaField
from wtforms.validators import Length

from quartblog.auth.forms import username_field
from quartblog.models.user import ABOUT_ME_MAX
from quartblog.web.forms import Form, tidy_lines
from quartblog.web.i18n import N_


class ProfileEdit(NamedTuple):
    """The fields of a valid edit: the name as typed, the text with plain line feeds."""

    username: str
    about_me: str


class EditProfileForm(Form):
    """The form to edit one's own profile."""

    username = username_field()
    about_me = TextAreaField(
        N_("关于我"),
        description=N_("最多 140 个字符"),
        filters=[tidy_lines],
        validators=[Length(max=ABOUT_ME_MAX, message=N_("最多 140 个字符"))],
        render_kw={"rows": 4},
    )

    def edit(self) -> ProfileEdit:
        """Return the fields as typed values, after validate()."""
        return ProfileEdit(self.username.data or "", self.about_me.data or "")
