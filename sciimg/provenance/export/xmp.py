"""The mark as an XMP packet, which TIFF and PNG carry: IPTC's digital source type, Dublin Core, and the whole mark as JSON.

References
----------
XMP specification, part 1 (ISO 16684-1:2019); IPTC Photo Metadata Standard 2023.1, Digital Source Type.
"""

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from sciimg.provenance.export.content import sentence


def packet(about: Mapping[str, Any]) -> bytes:
    """Return the packet of one file."""
    fields = {
        "Iptc4xmpExt:DigitalSourceType": about["digital_source_type"],
        "dc:identifier": f"{about['dataset']}/{about['image']}",
        "xmp:CreatorTool": f"sciimg, recipe {about['recipe']}",
        "sciimg:mark": json.dumps(about, sort_keys=True, ensure_ascii=False),
    }
    plain = "\n".join(f"   <{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
    told = "\n".join(
        f'   <{name}><rdf:Alt><rdf:li xml:lang="x-default">{escape(str(value))}</rdf:li></rdf:Alt></{name}>'
        for name, value in (("dc:description", sentence(about)), ("dc:rights", about["licence"]))
    )
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:sciimg="urn:x-sciimg:mark:v1:">
{plain}
{told}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>""".encode()
