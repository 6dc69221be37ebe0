"""Request -> the validated fields of registration and sign-in."""

from typing import NamedTuple

from wtforms import BooleanField, EmailField, PasswordField, StringField
from wtforms.validators import DataRequired, Email, EqualTo, InputRequired, Length, ValidationError

from quartblog.auth.usernames import MAX_LENGTH, username_key
from quartblog.errors.exceptions import InvalidUsername
from quartblog.web.forms import Form, tidy
from quartblog.web.i18n import N_

# Characters: enough for any pass phrase, and a bound on the work of hashing.
PASSWORD_MAX = 256


def valid_username(_form: Form, field: StringField) -> None:
    """Explain the rules of `quartblog.auth.usernames` in one sentence when the name breaks one."""
    try:
        username_key(field.data or "")
    except InvalidUsername as error:
        raise ValidationError(
            N_("请使用字母、数字、汉字或 _ - . ，以字母、数字或汉字开头，不要混用不同的文字")
        ) from error


def username_field() -> StringField:
    """Return the field for a new username, for registration and profile."""
    return StringField(
        N_("用户名"),
        filters=[tidy],
        validators=[
            DataRequired(N_("请填写用户名")),
            Length(max=MAX_LENGTH, message=N_("用户名最多 64 个字符")),
            valid_username,
        ],
        render_kw={
            "autocomplete": "username",
            "autocapitalize": "none",
            "spellcheck": "false",
            "maxlength": MAX_LENGTH,
        },
    )


class Credentials(NamedTuple):
    """The fields of a sign-in; `remember` asks for a login that outlives the browser session."""

    username: str
    password: str
    remember: bool


class NewAccount(NamedTuple):
    """The fields of a new account; `password` is not hashed yet."""

    username: str
    email: str
    password: str


class LoginForm(Form):
    """The sign-in form."""

    username = StringField(
        N_("用户名"),
        filters=[tidy],
        validators=[DataRequired(N_("请填写用户名"))],
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    password = PasswordField(
        N_("密码"),
        validators=[InputRequired(N_("请填写密码")), Length(max=PASSWORD_MAX, message=N_("密码最多 256 个字符"))],
        render_kw={"autocomplete": "current-password"},
    )
    remember_me = BooleanField(N_("记住我"))

    def credentials(self) -> Credentials:
        """Return the fields as typed values, after validate()."""
        return Credentials(self.username.data or "", self.password.data or "", remember=bool(self.remember_me.data))


class RegistrationForm(Form):
    """The registration form."""

    username = username_field()
    email = EmailField(
        N_("电子邮箱"),
        filters=[tidy],
        validators=[
            DataRequired(N_("请填写电子邮箱")),
            Email(N_("请填写有效的电子邮箱")),
            Length(max=254, message=N_("电子邮箱最多 254 个字符")),
        ],
        render_kw={"autocomplete": "email"},
    )
    password = PasswordField(
        N_("密码"),
        validators=[InputRequired(N_("请填写密码")), Length(max=PASSWORD_MAX, message=N_("密码最多 256 个字符"))],
        render_kw={"autocomplete": "new-password"},
    )
    password2 = PasswordField(
        N_("确认密码"),
        validators=[InputRequired(N_("请再次填写密码")), EqualTo("password", N_("两次输入的密码不一致"))],
        render_kw={"autocomplete": "new-password"},
    )

    def account(self) -> NewAccount:
        """Return the fields as typed values, after validate()."""
        return NewAccount(self.username.data or "", self.email.data or "", self.password.data or "")
