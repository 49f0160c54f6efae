"""
Every numeric that is used, by its standard name; nothing else spells three digits.

A numeric carries the text that goes with it where that is always the same; those without one are
given theirs, or none, where they are sent.

Sources: RFC 2812 section 5, https://modern.ircdocs.horse/#numerics.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "ERR_ACCEPTFULL",
    "ERR_ALREADYREGISTERED",
    "ERR_BADCHANNELKEY",
    "ERR_BANLISTFULL",
    "ERR_BANNEDFROMCHAN",
    "ERR_CANNOTSENDTOCHAN",
    "ERR_CANNOTSENDTOUSER",
    "ERR_CHANNELISFULL",
    "ERR_CHANOPRIVSNEEDED",
    "ERR_ERRONEUSNICKNAME",
    "ERR_HELPNOTFOUND",
    "ERR_INPUTTOOLONG",
    "ERR_INVALIDCAPCMD",
    "ERR_INVALIDMODEPARAM",
    "ERR_INVALIDUSERNAME",
    "ERR_INVITEONLYCHAN",
    "ERR_LINKCHANNEL",
    "ERR_MONLISTFULL",
    "ERR_NEEDMOREPARAMS",
    "ERR_NEEDREGGEDNICK",
    "ERR_NICKNAMEINUSE",
    "ERR_NICKTOOFAST",
    "ERR_NOADMININFO",
    "ERR_NOMOTD",
    "ERR_NONICKNAMEGIVEN",
    "ERR_NOOPERHOST",
    "ERR_NOORIGIN",
    "ERR_NOPRIVILEGES",
    "ERR_NORECIPIENT",
    "ERR_NOSUCHCHANNEL",
    "ERR_NOSUCHNICK",
    "ERR_NOTEXTTOSEND",
    "ERR_NOTONCHANNEL",
    "ERR_NOTREGISTERED",
    "ERR_PASSWDMISMATCH",
    "ERR_SASLABORTED",
    "ERR_SASLFAIL",
    "ERR_SASLTOOLONG",
    "ERR_TOOMANYCHANNELS",
    "ERR_TOOMANYTARGETS",
    "ERR_UMODEUNKNOWNFLAG",
    "ERR_UNKNOWNCOMMAND",
    "ERR_UNKNOWNMODE",
    "ERR_USERNOTINCHANNEL",
    "ERR_USERONCHANNEL",
    "ERR_USERSDONTMATCH",
    "ERR_WASNOSUCHNICK",
    "ERR_YOUREBANNEDCREEP",
    "RPL_ACCEPTLIST",
    "RPL_ADMINEMAIL",
    "RPL_ADMINLOC1",
    "RPL_ADMINLOC2",
    "RPL_ADMINME",
    "RPL_AWAY",
    "RPL_BANLIST",
    "RPL_CHANNELMODEIS",
    "RPL_CREATED",
    "RPL_CREATIONTIME",
    "RPL_ENDOFACCEPT",
    "RPL_ENDOFBANLIST",
    "RPL_ENDOFEXCEPTLIST",
    "RPL_ENDOFHELP",
    "RPL_ENDOFINFO",
    "RPL_ENDOFINVEXLIST",
    "RPL_ENDOFINVITELIST",
    "RPL_ENDOFLINKS",
    "RPL_ENDOFMONLIST",
    "RPL_ENDOFMOTD",
    "RPL_ENDOFNAMES",
    "RPL_ENDOFSTATS",
    "RPL_ENDOFWHO",
    "RPL_ENDOFWHOIS",
    "RPL_ENDOFWHOWAS",
    "RPL_EXCEPTLIST",
    "RPL_GLOBALUSERS",
    "RPL_HELPSTART",
    "RPL_HELPTXT",
    "RPL_INFO",
    "RPL_INVEXLIST",
    "RPL_INVITELIST",
    "RPL_INVITING",
    "RPL_ISON",
    "RPL_ISUPPORT",
    "RPL_KEYNOTSET",
    "RPL_KEYVALUE",
    "RPL_LIST",
    "RPL_LISTEND",
    "RPL_LISTSTART",
    "RPL_LOCALUSERS",
    "RPL_LOGGEDIN",
    "RPL_LOGGEDOUT",
    "RPL_LUSERCHANNELS",
    "RPL_LUSERCLIENT",
    "RPL_LUSERME",
    "RPL_LUSEROP",
    "RPL_LUSERUNKNOWN",
    "RPL_MAP",
    "RPL_MAPEND",
    "RPL_METADATASUBOK",
    "RPL_METADATASUBS",
    "RPL_METADATASYNCLATER",
    "RPL_METADATAUNSUBOK",
    "RPL_MONLIST",
    "RPL_MONOFFLINE",
    "RPL_MONONLINE",
    "RPL_MOTD",
    "RPL_MOTDSTART",
    "RPL_MYINFO",
    "RPL_NAMREPLY",
    "RPL_NOTOPIC",
    "RPL_NOWAWAY",
    "RPL_REHASHING",
    "RPL_SASLMECHS",
    "RPL_SASLSUCCESS",
    "RPL_SNOMASK",
    "RPL_STATSCOMMANDS",
    "RPL_STATSDLINE",
    "RPL_STATSKLINE",
    "RPL_STATSLINKINFO",
    "RPL_STATSOLINE",
    "RPL_STATSUPTIME",
    "RPL_TIME",
    "RPL_TOPIC",
    "RPL_TOPICWHOTIME",
    "RPL_TRYAGAIN",
    "RPL_UMODEIS",
    "RPL_UNAWAY",
    "RPL_USERHOST",
    "RPL_VERSION",
    "RPL_VISIBLEHOST",
    "RPL_WELCOME",
    "RPL_WHOISACCOUNT",
    "RPL_WHOISACTUALLY",
    "RPL_WHOISBOT",
    "RPL_WHOISCERTFP",
    "RPL_WHOISCHANNELS",
    "RPL_WHOISIDLE",
    "RPL_WHOISKEYVALUE",
    "RPL_WHOISMODES",
    "RPL_WHOISOPERATOR",
    "RPL_WHOISSECURE",
    "RPL_WHOISSERVER",
    "RPL_WHOISUSER",
    "RPL_WHOREPLY",
    "RPL_WHOSPCRPL",
    "RPL_WHOWASUSER",
    "RPL_YOUREOPER",
    "RPL_YOURHOST",
    "Numeric",
]


class Numeric(NamedTuple):
    """
    A reply's number.

    :ivar code: the three digits.
    :ivar text: the words for people that end it, or None.
    """

    code: bytes
    text: bytes | None = None


RPL_WELCOME = Numeric(b"001")
RPL_YOURHOST = Numeric(b"002")
RPL_CREATED = Numeric(b"003")
RPL_MYINFO = Numeric(b"004")
RPL_ISUPPORT = Numeric(b"005", b"are supported by this server")
RPL_MAP = Numeric(b"006")
RPL_MAPEND = Numeric(b"007", b"End of MAP")
RPL_SNOMASK = Numeric(b"008")
RPL_STATSLINKINFO = Numeric(b"211")
RPL_STATSCOMMANDS = Numeric(b"212")
RPL_STATSKLINE = Numeric(b"216")
RPL_ENDOFSTATS = Numeric(b"219", b"End of STATS")
RPL_UMODEIS = Numeric(b"221")
# https://www.alien.net.au/irc/irc2numerics.html: Solanum's, InspIRCd has the same.
RPL_STATSDLINE = Numeric(b"225")
RPL_STATSUPTIME = Numeric(b"242")
RPL_STATSOLINE = Numeric(b"243")
RPL_LUSERCLIENT = Numeric(b"251")
RPL_LUSEROP = Numeric(b"252", b"operators online")
RPL_LUSERUNKNOWN = Numeric(b"253", b"connections not registered yet")
RPL_LUSERCHANNELS = Numeric(b"254", b"channels formed")
RPL_LUSERME = Numeric(b"255")
RPL_ADMINME = Numeric(b"256", b"Administrative information")
RPL_ADMINLOC1 = Numeric(b"257")
RPL_ADMINLOC2 = Numeric(b"258")
RPL_ADMINEMAIL = Numeric(b"259")
RPL_TRYAGAIN = Numeric(b"263", b"Too often; wait a while and try again")
RPL_LOCALUSERS = Numeric(b"265")
RPL_GLOBALUSERS = Numeric(b"266")
RPL_WHOISCERTFP = Numeric(b"276")
RPL_ACCEPTLIST = Numeric(b"281")
RPL_ENDOFACCEPT = Numeric(b"282", b"End of ACCEPT")
RPL_AWAY = Numeric(b"301")
RPL_USERHOST = Numeric(b"302")
RPL_ISON = Numeric(b"303")
RPL_UNAWAY = Numeric(b"305", b"You are no longer marked as being away")
RPL_NOWAWAY = Numeric(b"306", b"You are now marked as being away")
RPL_WHOISUSER = Numeric(b"311")
RPL_WHOISSERVER = Numeric(b"312")
RPL_WHOISOPERATOR = Numeric(b"313", b"is an operator of this server")
RPL_WHOWASUSER = Numeric(b"314")
RPL_ENDOFWHO = Numeric(b"315", b"End of WHO")
RPL_WHOISIDLE = Numeric(b"317", b"seconds idle, signon time")
RPL_ENDOFWHOIS = Numeric(b"318", b"End of WHOIS")
RPL_WHOISCHANNELS = Numeric(b"319")
RPL_LISTSTART = Numeric(b"321", b"Users  Name")
RPL_LIST = Numeric(b"322")
RPL_LISTEND = Numeric(b"323", b"End of the list")
RPL_CHANNELMODEIS = Numeric(b"324")
RPL_CREATIONTIME = Numeric(b"329")
RPL_WHOISACCOUNT = Numeric(b"330", b"is logged in as")
RPL_NOTOPIC = Numeric(b"331", b"No topic is set")
RPL_TOPIC = Numeric(b"332")
RPL_TOPICWHOTIME = Numeric(b"333")
RPL_WHOISBOT = Numeric(b"335", b"is a bot")
RPL_INVITELIST = Numeric(b"336")
RPL_ENDOFINVITELIST = Numeric(b"337", b"End of your invitations")
RPL_WHOISACTUALLY = Numeric(b"338", b"is actually at")
RPL_INVITING = Numeric(b"341")
RPL_INVEXLIST = Numeric(b"346")
RPL_ENDOFINVEXLIST = Numeric(b"347", b"End of the invitation exception list")
RPL_EXCEPTLIST = Numeric(b"348")
RPL_ENDOFEXCEPTLIST = Numeric(b"349", b"End of the exception list")
RPL_VERSION = Numeric(b"351")
RPL_WHOREPLY = Numeric(b"352")
RPL_NAMREPLY = Numeric(b"353")
RPL_WHOSPCRPL = Numeric(b"354")
RPL_ENDOFLINKS = Numeric(b"365", b"End of LINKS")
RPL_ENDOFNAMES = Numeric(b"366", b"End of NAMES")
RPL_BANLIST = Numeric(b"367")
RPL_ENDOFBANLIST = Numeric(b"368", b"End of the ban list")
RPL_ENDOFWHOWAS = Numeric(b"369", b"End of WHOWAS")
RPL_INFO = Numeric(b"371")
RPL_MOTD = Numeric(b"372")
RPL_ENDOFINFO = Numeric(b"374", b"End of INFO")
RPL_MOTDSTART = Numeric(b"375")
RPL_ENDOFMOTD = Numeric(b"376", b"End of the message of the day")
RPL_VISIBLEHOST = Numeric(b"396", b"is your visible host now")
RPL_WHOISMODES = Numeric(b"379")
RPL_YOUREOPER = Numeric(b"381", b"You are now an operator of the server")
RPL_REHASHING = Numeric(b"382", b"Reading the settings again")
RPL_TIME = Numeric(b"391")
ERR_NOSUCHNICK = Numeric(b"401", b"No such nick")
ERR_NOSUCHCHANNEL = Numeric(b"403", b"No such channel")
ERR_CANNOTSENDTOCHAN = Numeric(b"404", b"Cannot send to channel")
ERR_TOOMANYCHANNELS = Numeric(b"405", b"You are in too many channels")
ERR_WASNOSUCHNICK = Numeric(b"406", b"Nobody had that nickname lately")
ERR_TOOMANYTARGETS = Numeric(b"407", b"Too many targets")
ERR_NOORIGIN = Numeric(b"409", b"No origin given")
ERR_INVALIDCAPCMD = Numeric(b"410", b"No such CAP subcommand")
ERR_NORECIPIENT = Numeric(b"411", b"No recipient given")
ERR_NOTEXTTOSEND = Numeric(b"412", b"No text to send")
ERR_INPUTTOOLONG = Numeric(b"417", b"That line was too long")
ERR_UNKNOWNCOMMAND = Numeric(b"421", b"Unknown command")
ERR_NOMOTD = Numeric(b"422", b"There is no message of the day")
ERR_NOADMININFO = Numeric(b"423", b"Nobody has said who runs this server")
ERR_NONICKNAMEGIVEN = Numeric(b"431", b"No nickname given")
ERR_ERRONEUSNICKNAME = Numeric(b"432", b"That nickname is not allowed")
ERR_NICKNAMEINUSE = Numeric(b"433", b"That nickname is in use")
ERR_NICKTOOFAST = Numeric(b"438", b"You change your nick too often; wait a while and try again")
ERR_USERNOTINCHANNEL = Numeric(b"441", b"They are not on that channel")
ERR_NOTONCHANNEL = Numeric(b"442", b"You are not on that channel")
ERR_USERONCHANNEL = Numeric(b"443", b"is on that channel already")
ERR_NOTREGISTERED = Numeric(b"451", b"You have not registered: send NICK and USER first")
ERR_ACCEPTFULL = Numeric(b"456", b"You accept as many as you can")
ERR_NEEDMOREPARAMS = Numeric(b"461", b"Not enough parameters")
ERR_ALREADYREGISTERED = Numeric(b"462", b"You are registered already")
ERR_PASSWDMISMATCH = Numeric(b"464", b"That is not the server's password")
ERR_YOUREBANNEDCREEP = Numeric(b"465")
ERR_INVALIDUSERNAME = Numeric(b"468", b"That user name is not allowed")
ERR_LINKCHANNEL = Numeric(b"470", b"Forwarding you to another channel")
ERR_CHANNELISFULL = Numeric(b"471", b"Cannot join: the channel is full (+l)")
ERR_UNKNOWNMODE = Numeric(b"472", b"is a mode this server does not have")
ERR_INVITEONLYCHAN = Numeric(b"473", b"Cannot join: you must be invited (+i)")
ERR_BANNEDFROMCHAN = Numeric(b"474", b"Cannot join: you are banned (+b)")
ERR_BADCHANNELKEY = Numeric(b"475", b"Cannot join: the key is not that (+k)")
ERR_NEEDREGGEDNICK = Numeric(b"477", b"You must be logged in to an account")
ERR_BANLISTFULL = Numeric(b"478", b"The ban list is full")
ERR_NOPRIVILEGES = Numeric(b"481", b"You are not an operator of the server with that privilege")
ERR_CHANOPRIVSNEEDED = Numeric(b"482", b"You are not a channel operator")
ERR_NOOPERHOST = Numeric(b"491", b"Nobody may become an operator from there")
ERR_UMODEUNKNOWNFLAG = Numeric(b"501", b"Unknown user mode")
ERR_USERSDONTMATCH = Numeric(b"502", b"You cannot see or change another user's modes")
ERR_HELPNOTFOUND = Numeric(b"524", b"There is no help on that")
RPL_WHOISSECURE = Numeric(b"671", b"is using a secure connection")
ERR_CANNOTSENDTOUSER = Numeric(b"531", b"They take no such message")
ERR_INVALIDMODEPARAM = Numeric(b"696")
RPL_HELPSTART = Numeric(b"704")
RPL_HELPTXT = Numeric(b"705")
RPL_ENDOFHELP = Numeric(b"706", b"End of HELP")
# https://ircv3.net/specs/extensions/monitor
RPL_MONONLINE = Numeric(b"730")
RPL_MONOFFLINE = Numeric(b"731")
RPL_MONLIST = Numeric(b"732")
RPL_ENDOFMONLIST = Numeric(b"733", b"End of MONITOR list")
ERR_MONLISTFULL = Numeric(b"734", b"The MONITOR list is full")
# https://ircv3.net/specs/extensions/metadata
RPL_WHOISKEYVALUE = Numeric(b"760")
RPL_KEYVALUE = Numeric(b"761")
RPL_KEYNOTSET = Numeric(b"766", b"is not set")
RPL_METADATASUBOK = Numeric(b"770")
RPL_METADATAUNSUBOK = Numeric(b"771")
RPL_METADATASUBS = Numeric(b"772")
RPL_METADATASYNCLATER = Numeric(b"774")
# https://ircv3.net/specs/extensions/sasl-3.1
RPL_LOGGEDIN = Numeric(b"900")
RPL_LOGGEDOUT = Numeric(b"901", b"You are logged out")
RPL_SASLSUCCESS = Numeric(b"903", b"SASL authentication successful")
ERR_SASLFAIL = Numeric(b"904", b"SASL authentication failed")
ERR_SASLTOOLONG = Numeric(b"905", b"SASL message too long")
ERR_SASLABORTED = Numeric(b"906", b"SASL authentication aborted")
RPL_SASLMECHS = Numeric(b"908", b"are the mechanisms there are")
